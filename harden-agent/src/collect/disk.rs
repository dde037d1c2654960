//! What only the file system knows: interpreters and capabilities of programs, links on the way to files, whose sockets
//! are, access control lists.
//!
//! To be asked by a process that sees the file system as the program did, which the agent in its sandbox does not.

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::MetadataExt as _, path::Path};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};

use super::{acl, file_capabilities, program, root::is_other, symlinks::Symlinks};
use crate::observation::{Executable, Inode, Inodes, Operation, Text};

/// The file system of a program, and what is known of it so far.
pub struct Disk {
    root: File,
    links: Symlinks,
}

impl Disk {
    /// That below `root`: `/`, or `/proc/PID/root` for a container's.
    ///
    /// # Errors
    /// It is not there, or not to be seen by this user.
    pub fn open(root: &Path) -> io::Result<Self> {
        Ok(Self {
            root: File::open(root)?,
            links: Symlinks::default(),
        })
    }

    /// Adds to each of `executables` the ELF interpreter that its file names and the capabilities that it gives, to the sockets that it connected
    /// to their owners and modes, and to files their access control lists; gives back the symbolic links on all paths that were asked for.
    pub fn look(&mut self, executables: &mut BTreeMap<Text, Executable>) -> BTreeMap<Text, Text> {
        let mut links = BTreeMap::new();
        let mut follow = |path: &Text| self.links.follow(&self.root, path, &mut links);
        let root = &self.root;
        for (program, facts) in executables {
            let interpreter = program::interpreter(root, program.as_path());
            facts.interpreters.extend(interpreter);
            // The path of one that began in another root is of that.
            if !is_other(facts) {
                let file = find(root, program.as_path(), OFlags::NOFOLLOW);
                let given = file.and_then(|file| file_capabilities::of(&file));
                facts.file_capabilities.extend(given);
            }
            // The kernel opens what a script names, by that name: it may be a link.
            let scripts = facts.invoked_as.iter().filter_map(|(name, seen)| {
                let interpreter = program::script_interpreter(root, name.as_path())?;
                (follow(&interpreter) == program.as_path()).then(|| (interpreter, seen.clone()))
            });
            let scripts: Vec<_> = scripts.collect();
            for (interpreter, seen) in scripts {
                facts.invoked_as.entry(interpreter).or_insert(seen);
            }
            follow(program);
            for name in facts.interpreters.iter().chain(facts.invoked_as.keys()) {
                follow(name);
            }
            for (path, file) in &mut facts.files {
                if file.inodes.is_empty() && file.operations.has(Operation::Connect) {
                    file.inodes.extend(socket(root, path.as_path()));
                }
                if file.resolved && file.inodes.iter().any(may_have_acl) {
                    add_acl(root, path.as_path(), &mut file.inodes);
                }
                if !file.resolved {
                    follow(path);
                }
                for name in &file.asked_as {
                    follow(name);
                }
            }
        }
        links
    }
}

/// The file at `path`, for looking at it: nothing is opened by this.
fn find(root: &File, path: &Path, flags: OFlags) -> Option<File> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let file = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    Some(File::from(file))
}

/// Whether a list could allow more than the mode does to everybody: the group's bits are its mask.
fn may_have_acl(inode: &Inode) -> bool {
    let (group, others) = (inode.mode >> 3 & 7, inode.mode & 7);
    group & !others != 0 && inode.acl.is_none()
}

/// Gives the inode that is at `path` now its list, if it is one of `inodes`.
fn add_acl(root: &File, path: &Path, inodes: &mut Inodes) {
    let Some(file) = find(root, path, OFlags::NOFOLLOW) else {
        return;
    };
    let (Some(acl), Ok(found)) = (acl::of(&file).map(Box::new), file.metadata()) else {
        return;
    };
    let same = |inode: &Inode| {
        (inode.device, inode.mode) == (found.dev(), found.mode())
            && (inode.number == found.ino() || inode.is_one_of_many())
    };
    let with = |inode: Inode| Inode {
        acl: same(&inode).then(|| acl.clone()).or(inode.acl.clone()),
        ..inode
    };
    *inodes = std::mem::take(inodes).into_iter().map(with).collect();
}

/// The socket that is there now: the hooks on connect(2) see an address, and the kernel's search for it is no hook's.
fn socket(root: &File, path: &Path) -> Option<Inode> {
    // The kernel follows links on the way to a socket (`unix_find_bsd` in net/unix/af_unix.c).
    let file = find(root, path, OFlags::empty())?;
    let found = file.metadata().ok()?;
    let is_socket = FileType::from_raw_mode(found.mode()) == FileType::Socket;
    is_socket.then(|| Inode {
        device: found.dev(),
        number: found.ino(),
        generation: 0,
        mode: found.mode(),
        uid: found.uid(),
        gid: found.gid(),
        rdev: 0,
        filesystem: 0,
        acl: acl::of(&file).map(Box::new),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, os::unix::net::UnixListener};

    use super::*;
    use crate::observation::File as Facts;

    #[test]
    fn a_socket_has_the_mode_that_is_on_disk_and_nothing_else_has() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("db.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o760)).unwrap();
        std::os::unix::fs::symlink("/db.sock", root.path().join("link")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let connected = |operation| Facts::used(operation, "ok");
        let mut program = Executable::default();
        for (name, operation) in [
            ("/db.sock", Operation::Connect),
            ("/link", Operation::Connect),
            ("/file", Operation::Connect),
            ("/none", Operation::Connect),
        ] {
            program.files.insert(name.into(), connected(operation));
        }
        let mut programs = BTreeMap::from([(Text::from("/bin/d"), program)]);
        let mut disk = Disk::open(root.path()).unwrap();
        disk.look(&mut programs);
        let files = &programs[&Text::from("/bin/d")].files;
        let modes = |name: &str| -> Vec<u32> {
            let inodes = files[&Text::from(name)].inodes.iter();
            inodes.map(|inode| inode.mode).collect()
        };
        assert_eq!(modes("/db.sock"), [0o140_760]);
        assert_eq!(modes("/link"), [0o140_760]);
        assert_eq!([modes("/file"), modes("/none")], [[0; 0]; 2]);
    }
}
