//! The floods.

use std::process::{Child, Command, Stdio};

use anyhow::Result;
use harden_tests::deeds::{Unit, Workshop};

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

/// Ends with its unit.
pub struct Flood {
    child: Child,
    _unit: Unit,
}

impl Flood {
    /// Starts `script` in a unit of its own.
    pub fn begin(workshop: &Workshop, name: &str, script: &str) -> Result<Self> {
        let unit = workshop.unit(name)?;
        let child = Command::new("/bin/sh")
            .args(["-c", r#"echo 0 > "$0/cgroup.procs" && exec "$@""#])
            .arg(unit.path())
            .args(["/usr/bin/python3", "-S", "-E", "-c", script])
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self { child, _unit: unit })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
