//! Gathering what a proof rests on, while the unit runs as it was proved.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use jiff::Timestamp;

use super::{Proof, Stamp, System};
use crate::{
    apply::{Backend, Files, Unit, applied::digest},
    machine::{firejail, host, mapped, proc, systemd},
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
    let text = |path: &PathBuf| Text::from(path.as_os_str().as_encoded_bytes());
    let installed = tried.installed.iter();
    let installed = installed.map(|(path, below)| (text(path), digest(below.as_bytes())));
    let mut proof = Proof {
        schema: Proof::SCHEMA,
        unit: name.into(),
        backend: tried.files.backend,
        proved: Timestamp::now(),
        system: system(tried.files.backend),
        observation: tried.files.observation.clone(),
        tests: tried.test.map(str::to_owned).into_iter().collect(),
        in_force: tried.in_force.to_owned(),
        installed: installed.collect(),
        unit_files: unit_files(name),
        programs: BTreeMap::new(),
        not_followed: BTreeSet::new(),
    };
    let recorded = tried.programs.iter().cloned();
    for path in running(name).into_iter().chain(recorded) {
        proof.follow(path);
    }
    proof
}

impl Proof {
    /// Has a change of the file noticed.
    fn follow(&mut self, path: Text) {
        if self.programs.contains_key(&path) {
            return;
        }
        match Stamp::of(path.as_path()) {
            Ok(Some(stamp)) => {
                self.programs.insert(path, stamp);
            }
            // Another view of the files, or it is gone already: at the next start there is another one.
            Ok(None) | Err(_) => {
                self.not_followed.insert(path);
            }
        }
    }
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

/// The files of the unit that systemd reads, but for those of harden, with their digests.
pub(super) fn unit_files(unit: &str) -> BTreeMap<Text, String> {
    const PATHS: [&str; 3] = ["FragmentPath", "SourcePath", "DropInPaths"];
    let found = systemd::properties(unit, &PATHS).unwrap_or_default();
    let paths = found.values().flat_map(|paths| paths.split_whitespace());
    let files = paths.filter_map(|path| {
        // systemd escapes what a shell would look at.
        let path = Text::as_typed(path.as_bytes());
        let file = fs::read(path.as_path()).ok()?;
        let is_own = crate::apply::Applied::read(&String::from_utf8_lossy(&file)).is_some();
        (!is_own).then(|| (path, digest(&file)))
    });
    files.collect()
}

/// What the unit's processes run: programs, libraries and scripts.
fn running(unit: &str) -> BTreeSet<Text> {
    let properties = systemd::properties(unit, &["ControlGroup", "MainPID"]).unwrap_or_default();
    let property = |name: &str| properties.get(name).map_or("", String::as_str);
    let main: u32 = property("MainPID").parse().unwrap_or_default();
    let cgroup = property("ControlGroup").as_bytes();
    let is_in = |pid: u32| {
        let found = proc::cgroup(pid).unwrap_or_default();
        let below = found.as_bytes().strip_prefix(cgroup);
        pid == main
            || !cgroup.is_empty()
                && below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let all = proc::all().into_iter().filter(|pid| is_in(*pid));
    all.flat_map(|pid| {
        let mapped = mapped::executable(pid).into_iter().map(|one| one.path);
        mapped.chain(scripts(pid)).collect::<BTreeSet<_>>()
    })
    .collect()
}

/// The scripts that a process runs: no kernel interface names them, so these are the words of its command that can be
/// nothing else.
fn scripts(pid: u32) -> BTreeSet<Text> {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = command.split(|byte| *byte == 0).map(Text::from);
    words.filter(is_script).collect()
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
    }

    #[test]
    fn what_is_not_on_the_disk_is_named_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        fs::write(&path, "abc").unwrap();
        let path = Text::from(path.as_os_str().as_encoded_bytes());
        let mut proof = super::super::stale::tests::proof();
        proof.follow(path.clone());
        proof.follow("/nonexistent/program".into());
        assert!(proof.programs.contains_key(&path));
        assert!(
            proof
                .not_followed
                .contains(&Text::from("/nonexistent/program"))
        );
    }
}
