//! The real Firejail accepts what is rendered, runs a program under it, and holds it to it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is how a test fails")]

use std::path::Path;
use std::process::{Command, Output};

use harden_agent::machine::firejail::ask;
use harden_agent::observation::{Observation, from_json};
use harden_agent::policy::{
    Basis, DecisionOptions,
    firejail::{Launch, Profile},
};
use harden_agent::render::{Options, firejail::profile};
use harden_tests::skip;
use serde_json::{Value, json};

/// What the loader and small programs call on one C library or another.
const CALLS: [&str; 40] = [
    "access",
    "arch_prctl",
    "brk",
    "close",
    "dup2",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fcntl",
    "fstat",
    "futex",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "getuid",
    "ioctl",
    "lseek",
    "mmap",
    "mprotect",
    "munmap",
    "newfstatat",
    "openat",
    "pread64",
    "prlimit64",
    "read",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "set_robust_list",
    "set_tid_address",
    "stat",
    "statx",
    "write",
];

/// One run of `/usr/bin/NAME`, with more facts.
fn observation(name: &str, files: &Value, more: &Value) -> Observation {
    let seen = json!({});
    let calls: serde_json::Map<_, _> = CALLS
        .iter()
        .map(|call| ((*call).to_owned(), seen.clone()))
        .collect();
    let mut executable = json!({
        "inodes": [], "interpreters": ["/lib64/ld-linux-x86-64.so.2"],
        "invoked_as": { format!("/bin/{name}"): seen },
        "syscalls": { "native": calls },
        "capabilities": {}, "families": {}, "socket_types": {}, "sockets": {}, "addresses": {},
        "arguments": {}, "files": files,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        executable[key] = value.clone();
    }
    let observation = json!({
        "schema": 1, "name": name,
        "runs": { "run": {
            "command": [name], "uid": 0,
            "started": "2026-11-23T08:00:00Z", "ended": "2026-11-23T08:00:01Z", "status": 0,
            "host": { "name": "vm", "kernel": "6.1", "architecture": "x86_64", "libc": null },
            "hooks": { "syscalls": "test", "capabilities": "test", "files": "test" },
            "losses": {}, "symlinks": { "/bin": "usr/bin" },
            "executables": { format!("/usr/bin/{name}"): executable },
        } },
    });
    from_json(observation.to_string().as_bytes()).unwrap()
}

fn done(operations: &[&str]) -> Value {
    let operations: serde_json::Map<_, _> = operations
        .iter()
        .map(|operation| ((*operation).to_owned(), json!({ "ok": {} })))
        .collect();
    json!({ "resolved": true, "operations": operations, "inodes": [], "asked_as": [] })
}

/// Runs `program` under the profile of `observation`; `None` where Firejail cannot.
fn jailed(test: &str, observation: &Observation, direct: bool, program: &[&str]) -> Option<Output> {
    let probe = Command::new("firejail")
        .args(["--quiet", "--noprofile", "/bin/true"])
        .output();
    match probe {
        Err(error) => {
            skip(test, &format!("Firejail cannot be run: {error}"));
            return None;
        }
        Ok(output) if !output.status.success() => {
            let error = String::from_utf8_lossy(&output.stderr);
            skip(test, &format!("Firejail cannot make a sandbox: {error}"));
            return None;
        }
        Ok(_) => {}
    }
    let launch = if direct {
        Launch::Direct
    } else {
        Launch::Shell("/bin/bash".to_owned())
    };
    let policy = Profile::decide(
        &Basis::of(observation),
        ask(None, launch).target,
        &DecisionOptions::default(),
    );
    let directory = tempfile::tempdir_in(Path::new("/run")).unwrap();
    let path = directory.path().join("test.profile");
    std::fs::write(&path, profile(&policy, &Options::default())).unwrap();
    let mut command = Command::new("firejail");
    command
        .arg("--quiet")
        .arg(format!("--profile={}", path.display()));
    if !direct {
        command.arg("--");
    }
    Some(command.args(program).output().unwrap())
}

#[track_caller]
fn assert_success(output: Option<Output>) {
    if let Some(output) = output {
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_plain_program_runs_started_either_way() {
    let observation = observation(
        "true",
        &json!({ "/etc/ld.so.cache": done(&["read"]) }),
        &json!({}),
    );
    for direct in [true, false] {
        assert_success(jailed(
            "plain program",
            &observation,
            direct,
            &["/bin/true"],
        ));
    }
}

#[test]
fn every_kind_of_line_is_accepted() {
    let files = json!({
        "/etc/ld.so.cache": done(&["read"]),
        "/etc/passwd": done(&["read"]),
        "/dev/null": done(&["create", "write"]),
        "/dev/shm/x": done(&["create"]),
        "/var/log/true/log": done(&["create"]),
        "/var/tmp/shared": done(&["read"]),
        "/var/lib/true/state": done(&["create", "rename-to"]),
        "/srv/data one/x": done(&["read"]),
        "/opt/#/\u{7}": done(&["read"]),
        "/sys/fs/x": done(&["read"]),
        "/boot/x": done(&["read"]),
        "/usr/share/doc": done(&["read"]),
    });
    let more = json!({
        "capabilities": { "net_bind_service": { "granted": {} }, "chown": { "granted": {} } },
        "families": { "unix": {}, "inet": {}, "inet6": {}, "netlink": {}, "packet": {}, "bluetooth": {} },
    });
    let observation = observation("true", &files, &more);
    assert_success(jailed("every line", &observation, false, &["/bin/true"]));
}

#[test]
fn what_was_not_observed_is_refused() {
    let name = "what was not observed";
    let observation = observation("touch", &json!({ "/srv/x": done(&["stat"]) }), &json!({}));
    for path in ["/srv/harden-test", "/usr/harden-test", "/var/harden-test"] {
        if let Some(output) = jailed(name, &observation, true, &["/bin/touch", path]) {
            assert!(!output.status.success(), "{path}: {output:?}");
            assert!(!Path::new(path).exists());
        }
    }
    if let Some(output) = jailed(name, &observation, true, &["/bin/cat", "/etc/passwd"]) {
        assert!(!output.status.success(), "{output:?}");
    }
}
