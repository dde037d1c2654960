//! Gathering what a proof rests on, while the unit runs as it was proved.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{Proof, System, digest, unit_files::UnitFiles};
use crate::{
    apply::{Backend, Files, Unit, applied, place},
    machine::{self, firejail, host, mapped, proc, services, systemd},
    observation::Text,
};

/// What was tried.
pub(in crate::apply) struct Tried<'a> {
    pub(in crate::apply) unit: &'a Unit,
    pub(in crate::apply) files: &'a Files,
    /// Where the files will lie, and what is in each, below its first line.
    pub(in crate::apply) installed: Vec<(PathBuf, String)>,
    /// The programs that the unit was seen to run.
    pub(in crate::apply) programs: &'a BTreeSet<Text>,
    pub(in crate::apply) test: Option<&'a str>,
    pub(in crate::apply) in_force: &'a str,
}

/// The proof of what was tried just now.
pub(in crate::apply) fn gather(tried: &Tried<'_>) -> Proof {
    let name = tried.unit.name();
    let backend = tried.files.backend;
    let installed = tried.installed.iter();
    let digests = installed.map(|(path, below)| {
        let path = Text::from(path.as_os_str().as_encoded_bytes());
        (path, applied::digest(below.as_bytes()))
    });
    let mut proof = Proof {
        schema: Proof::SCHEMA,
        unit: name.into(),
        backend,
        proved: Timestamp::now(),
        system: system(backend),
        observation: tried.files.observation.clone(),
        tests: tried.test.map(str::to_owned).into_iter().collect(),
        in_force: tried.in_force.to_owned(),
        installed: digests.collect(),
        unit_files: BTreeMap::new(),
        programs: BTreeMap::new(),
        links: BTreeMap::new(),
        not_followed: BTreeSet::new(),
    };
    let mut but = proof.installed_paths();
    but.insert(place::trial(tried.unit, backend));
    let mut files = UnitFiles::of(name, &but);
    if let Some(profile) = &tried.files.profile {
        files.add_firejail(profile);
    }
    proof.unit_files = files
        .digests
        .into_iter()
        .filter_map(|(path, digest)| Some((path, digest.ok()?)))
        .collect();
    let main = main(name);
    let running = running(name, main);
    for pid in &running {
        proof.follow_mapped(*pid);
    }
    let scripts = running.iter().flat_map(|pid| scripts(*pid));
    for path in scripts.chain(tried.programs.iter().cloned()) {
        proof.follow(path, main);
    }
    proof.follow_commands(name, main);
    proof
}

impl Proof {
    /// Follows what a process has mapped: the file itself, whatever lies at its path by now.
    fn follow_mapped(&mut self, pid: u32) {
        for mapped in mapped::executable(pid) {
            let path = &mapped.path;
            if self.programs.contains_key(path) || self.not_followed.contains(path) {
                continue;
            }
            let digest = mapped.open(pid).and_then(digest::of_file);
            let now = digest::of(path.as_path()).ok().flatten();
            match digest {
                // One that was replaced in the course of the test makes the proof stale at once, as it should.
                Ok(digest) if mapped.is_deleted && now.is_some() => {
                    self.programs.insert(path.clone(), digest);
                }
                Ok(digest) if now.as_ref() == Some(&digest) => {
                    self.programs.insert(path.clone(), digest);
                }
                // Another file lies there in this system's view: that of a root directory, or of a container.
                Ok(_) | Err(_) => {
                    self.not_followed.insert(path.clone());
                }
            }
        }
    }

    /// Follows the file at this path, if it is the same in the view of process `main` and in ours.
    fn follow(&mut self, path: Text, main: u32) {
        if self.programs.contains_key(&path) || self.not_followed.contains(&path) {
            return;
        }
        match digest::of(path.as_path()) {
            Ok(Some(digest)) if is_seen(path.as_path(), main, &digest) => {
                self.programs.insert(path, digest);
            }
            _ => {
                self.not_followed.insert(path);
            }
        }
    }

    /// Follows the programs and scripts in the unit's commands, which may be over by now, and where links among them lead.
    fn follow_commands(&mut self, unit: &str, main: u32) {
        for word in commands(unit) {
            let path = word.as_path();
            if let Ok(target) = path.canonicalize() {
                let target = Text::from(target.as_os_str().as_encoded_bytes());
                if target != word {
                    self.links.insert(word, target.clone());
                }
                self.follow(target, main);
            }
        }
    }
}

/// Whether process `main` sees the same file at this path, or none: then somebody else ran it.
fn is_seen(path: &Path, main: u32, digest: &str) -> bool {
    let Ok(below) = path.strip_prefix("/") else {
        return false;
    };
    let seen = Path::new("/proc")
        .join(main.to_string())
        .join("root")
        .join(below);
    let (Ok(seen_file), Ok(file)) = (seen.metadata(), path.metadata()) else {
        return true;
    };
    (seen_file.dev(), seen_file.ino()) == (file.dev(), file.ino())
        || digest::of(&seen).is_ok_and(|seen| seen.as_deref() == Some(digest))
}

/// This system, now.
pub(super) fn system(backend: Backend) -> System {
    let firejail = || firejail::installed_version().ok();
    System {
        harden: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: host::this().kernel,
        systemd: systemd::version(),
        firejail: (backend == Backend::Firejail)
            .then(firejail)
            .flatten()
            .map(|version| version.to_string()),
    }
}

/// The unit's main process; 0 if it has none.
fn main(unit: &str) -> u32 {
    let properties = systemd::properties(unit, &["MainPID"]).unwrap_or_default();
    let main = properties.get("MainPID").and_then(|pid| pid.parse().ok());
    main.unwrap_or_default()
}

/// The unit's processes.
fn running(unit: &str, main: u32) -> Vec<u32> {
    let properties = systemd::properties(unit, &["ControlGroup"]).unwrap_or_default();
    let cgroup = properties.get("ControlGroup").map_or("", String::as_str);
    let is_in = |pid: u32| {
        let found = proc::cgroup(pid).unwrap_or_default();
        let below = found.as_bytes().strip_prefix(cgroup.as_bytes());
        let is_below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        pid == main || !cgroup.is_empty() && is_below
    };
    proc::all().into_iter().filter(|pid| is_in(*pid)).collect()
}

/// The scripts that a process runs: no kernel interface names them, so these are the words of its command that can be
/// nothing else.
fn scripts(pid: u32) -> BTreeSet<Text> {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = command.split(|byte| *byte == 0).map(Text::from);
    words.filter(is_script).collect()
}

/// The paths of programs and scripts in the unit's commands, as they are written there.
fn commands(unit: &str) -> BTreeSet<Text> {
    let Some(unit) = machine::unit::installed(&unit.into()) else {
        return BTreeSet::new();
    };
    let commands = services::COMMANDS.iter().flat_map(|name| unit.list(name));
    let words = commands.flat_map(|command| {
        // Before the program may be characters that say how it is run (systemd.service(5)).
        let command = command.trim_start_matches(['@', '-', ':', '+', '!', '|']);
        shlex::split(command).unwrap_or_default()
    });
    let words = words.map(|word| Text::from(word.as_str()));
    words
        .filter(|word| is_script(word) || is_program(word.as_path()))
        .collect()
}

fn is_program(path: &Path) -> bool {
    let found = path.metadata();
    path.is_absolute()
        && found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Whether a word of a command is the path of a script.
fn is_script(word: &Text) -> bool {
    use std::io::Read as _;
    const EXTENSIONS: [&str; 8] = ["py", "pl", "rb", "sh", "js", "php", "lua", "tcl"];
    let path = word.as_path();
    if !path.is_absolute() || !path.is_file() {
        return false;
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
        return true;
    }
    let mut start = [0; 2];
    let file = fs::File::open(path);
    file.is_ok_and(|mut file| file.read_exact(&mut start).is_ok()) && start == *b"#!"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_told_from_a_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            Text::from(path.as_os_str().as_encoded_bytes())
        };
        assert!(is_script(&file("restd", "#!/usr/bin/python3\n")));
        assert!(is_script(&file("restd.py", "import os\n")));
        assert!(!is_script(&file("restd.conf", "[restd]\n")));
        assert!(!is_script(&file("empty", "")));
        assert!(!is_script(&"restd.py".into()));
        assert!(!is_script(&"/".into()));
        assert!(is_program(Path::new("/bin/sh")));
        assert!(!is_program(Path::new("/etc/passwd")));
    }

    #[test]
    fn what_is_not_on_the_disk_is_named_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        fs::write(&path, "abc").unwrap();
        let path = Text::from(path.as_os_str().as_encoded_bytes());
        let mut proof = super::super::stale::tests::proof();
        let own = std::process::id();
        proof.follow(path.clone(), own);
        proof.follow("/nonexistent/program".into(), own);
        assert!(proof.programs.contains_key(&path));
        let missing = Text::from("/nonexistent/program");
        assert!(proof.not_followed.contains(&missing));
    }
}
