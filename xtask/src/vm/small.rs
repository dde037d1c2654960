//! The small image: programs of the host, in memory.

use std::{fs, path::Path};

use anyhow::Result;

use super::{
    cpio::Archive,
    payload::{add_libraries, add_program, find},
};

/// What the suites run. For all else there is busybox.
const PROGRAMS: &[&str] = &[
    "capsh", "cat", "chmod", "chroot", "cp", "env", "false", "find", "firejail", "head", "id",
    "ip", "ls", "mkdir", "mount", "python3", "rmdir", "runuser", "setpriv", "setsid", "sh",
    "sleep", "sort", "strace", "timeout", "touch", "true", "uniq", "unshare",
];

/// Directories that programs need, and files that are loaded without being named in a program.
const FILES: &[&str] = &[
    "/etc/alternatives/awk",
    "/etc/firejail",
    "/etc/ld.so.cache",
    "/etc/login.defs",
    "/usr/lib/x86_64-linux-gnu/firejail",
    "/usr/lib/x86_64-linux-gnu/libnss_files.so.2",
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\ntty:x:5:\nnogroup:x:65534:\n";

/// Puts the system into the archive.
pub fn add(archive: &mut Archive) -> Result<()> {
    for directory in [
        "/root", "/home", "/srv", "/var/lib", "/var/tmp", "/var/log", "/etc", "/mnt", "/opt",
    ] {
        archive.directory(directory);
    }
    for (link, target) in [
        ("/bin", "usr/bin"),
        ("/sbin", "usr/sbin"),
        ("/var/run", "/run"),
        ("/var/lock", "/run/lock"),
        ("/lib", "usr/lib"),
        ("/lib64", "usr/lib64"),
        ("/lib32", "usr/lib32"),
    ] {
        archive.symlink(link, target);
    }
    for (file, content) in [
        ("/etc/passwd", PASSWD),
        ("/etc/group", GROUP),
        ("/etc/hostname", "harden-vm\n"),
        ("/etc/hosts", "127.0.0.1 localhost harden-vm\n"),
        (
            "/etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files\n",
        ),
    ] {
        archive.file(file, 0o644, content.as_bytes());
    }
    for program in PROGRAMS {
        add_program(archive, &find(program)?)?;
    }
    for file in FILES.iter().map(Path::new).filter(|file| file.exists()) {
        archive.host(file)?;
    }
    python(archive)
}

/// Python's own modules.
fn python(archive: &mut Archive) -> Result<()> {
    let interpreter = find("python3")?.canonicalize()?;
    let version = interpreter.file_name().unwrap_or_default();
    let library = Path::new("/usr/lib").join(version);
    for entry in fs::read_dir(&library)? {
        let entry = entry?;
        let name = entry.file_name();
        let unused = [
            "test",
            "idlelib",
            "lib2to3",
            "ensurepip",
            "distutils",
            "dist-packages",
            "pydoc_data",
        ];
        if !unused.iter().any(|unused| name == *unused) {
            archive.host(&entry.path())?;
        }
    }
    // Of those that are compiled, suites call the C library.
    for entry in fs::read_dir(library.join("lib-dynload"))? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(b"_ctypes.")
        {
            add_libraries(archive, &entry.path())?;
        }
    }
    Ok(())
}
