//! The floods.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use harden_tests::{
    Scratch, as_patient,
    deeds::{Unit, Workshop},
};

/// Asks for as many names as it can, each of them new, until it is ended.
pub const FLOOD: &str = "
import os, itertools
for number in itertools.count():
    try: os.stat(f'/var/tmp/harden-flood-{number}')
    except OSError: pass
";

/// Starts programs, makes pipes and opens files of which each is another, as fast as it can.
pub const FORKS: &str = "
import os, itertools
for number in itertools.count():
    os.close(os.pipe()[0])
    for file in range(100):
        try: os.open(f'/var/tmp/harden-flood-{number}-{file}', os.O_RDONLY)
        except OSError: pass
    child = os.fork()
    if child == 0:
        os.closerange(3, 1 << 16)
        os.execv('/bin/true', ['true'])
    os.waitpid(child, 0)
    os.closerange(3, 1 << 16)
";

/// Runs programs of which each is another file, every second one in another of many cgroups below its own, and has each
/// ask for names of its own. The arguments are its cgroup and a directory.
pub const COPIES: &str = "
import os, sys, itertools, shutil
cgroup, files = sys.argv[1:]
null = os.open('/dev/null', os.O_RDWR)
for number in itertools.count():
    program = f'{files}/{number}'
    shutil.copy('/bin/cat', program)
    place = cgroup
    if number % 2:
        place = f'{cgroup}/child-{number % 200}'
        os.makedirs(place, exist_ok=True)
    child = os.fork()
    if child == 0:
        with open(f'{place}/cgroup.procs', 'w') as door: door.write('0')
        os.dup2(null, 2)
        os.execv(program, ['cat'] + [f'/flood-{number}-{name}' for name in range(200)])
    os.waitpid(child, 0)
    os.unlink(program)
";

/// Makes cgroups below its own, three hundred of which stay, and removes the others as fast as it can, a program in every
/// tenth. The argument is its cgroup.
pub const CGROUPS: &str = "
import os, sys, itertools
cgroup = sys.argv[1]
for number in range(300):
    os.mkdir(f'{cgroup}/child-{number}')
for number in itertools.count():
    place = f'{cgroup}/passing-{number}'
    os.mkdir(place)
    if number % 10 == 0:
        child = os.fork()
        if child == 0:
            with open(f'{place}/cgroup.procs', 'w') as door: door.write('0')
            os.execv('/bin/true', ['true'])
        os.waitpid(child, 0)
    os.rmdir(place)
";

/// Ends with its unit.
pub struct Flood {
    child: Child,
    unit: Unit,
    _files: Scratch,
}

impl Flood {
    /// Starts `script` in a unit of its own.
    pub fn begin(workshop: &Workshop, name: &str, script: &str) -> Result<Self> {
        let unit = workshop.unit(name)?;
        let files = Scratch::new(Path::new("/dev/shm"))?;
        let child = Command::new("/bin/sh")
            .args(["-c", r#"echo 0 > "$0/cgroup.procs" && exec "$@""#])
            .arg(unit.path())
            .args(["/usr/bin/python3", "-S", "-E", "-c", script])
            .args([unit.path(), files.path()])
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self {
            child,
            unit,
            _files: files,
        })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let below = fs::read_dir(self.unit.path()).into_iter().flatten();
        for entry in below.flatten() {
            // Files cannot be removed there, and the last program may take a moment to end.
            let deadline = Instant::now() + as_patient(Duration::from_secs(1));
            while entry.path().is_dir()
                && fs::remove_dir(entry.path()).is_err()
                && Instant::now() < deadline
            {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
