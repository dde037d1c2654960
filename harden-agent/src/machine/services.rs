//! Which programs the services of this machine's systemd run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use crate::observation::Text;

/// The commands of a service (systemd.service(5)).
pub(crate) const COMMANDS: [&str; 7] = [
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
];

/// What systemd says of a service.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    /// The programs that its commands name: what they start, and the files among its arguments, such as what Firejail or
    /// an interpreter is to run.
    pub programs: BTreeSet<Text>,
    /// Whether `SystemCallLog=` has some call logged.
    pub logs_calls: bool,
}

/// All services that systemd has loaded, by name; none if it cannot be asked.
pub(crate) fn loaded() -> BTreeMap<String, Service> {
    show(&["*.service"])
}

/// These units of the system's own systemd; those that it does not know are left out.
pub(crate) fn of(units: &BTreeSet<&str>) -> BTreeMap<String, Service> {
    if units.is_empty() {
        return BTreeMap::new();
    }
    let units: Vec<&str> = units.iter().copied().collect();
    show(&units)
}

fn show(units: &[&str]) -> BTreeMap<String, Service> {
    let wanted = format!(
        "--property=Id,LoadState,SystemCallLog,{}",
        COMMANDS.join(",")
    );
    let mut command = Command::new("systemctl");
    command
        .args(["show", "--no-pager", &wanted, "--"])
        .args(units);
    let Ok(output) = command.output() else {
        return BTreeMap::new();
    };
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// An empty line ends each unit.
fn parse(text: &str) -> BTreeMap<String, Service> {
    let units = text.split("\n\n").filter_map(|unit| {
        let values = |key: &'static str| {
            let lines = unit.lines();
            lines.filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let name = values("Id").next()?;
        if values("LoadState").next() != Some("loaded") {
            return None;
        }
        let commands = COMMANDS.iter().flat_map(|key| values(key));
        let service = Service {
            programs: commands.flat_map(files).collect(),
            // `~` denies what follows: nothing.
            logs_calls: values("SystemCallLog").any(|value| !matches!(value, "" | "~")),
        };
        Some((name.to_owned(), service))
    });
    units.collect()
}

/// The paths in `{ path=/usr/sbin/a ; argv[]=/usr/sbin/a /etc/a.conf ; ignore_errors=no ; … }`, and what they are links to.
fn files(command: &str) -> BTreeSet<Text> {
    let words = command.split_whitespace();
    let words = words.map(|word| word.strip_prefix("path=").unwrap_or(word));
    let words = words.map(|word| word.strip_prefix("argv[]=").unwrap_or(word));
    let paths = words.filter(|word| word.starts_with('/'));
    paths
        .flat_map(|path| {
            let real = fs::canonicalize(Path::new(path)).ok();
            let real = real.map(|real| Text::from(real.as_os_str().as_bytes()));
            [Some(Text::from(path)), real]
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_of_a_service_are_in_its_commands() {
        let text = "Id=a.service\nLoadState=loaded\nSystemCallLog=~\n\
            ExecStartPre={ path=/no/a-pre ; argv[]=/no/a-pre ; ignore_errors=no ; pid=0 }\n\
            ExecStart={ path=/no/firejail ; argv[]=/no/firejail --profile=/p -- /no/a -f ; pid=0 }\n\n\
            Id=b.service\nLoadState=loaded\nSystemCallLog=mkdir\nExecStart={ path=/no/b ; argv[]=/no/b ; x }\n\n\
            Id=c.service\nLoadState=not-found\n";
        let found = parse(text);
        let names: Vec<&String> = found.keys().collect();
        assert_eq!(names, ["a.service", "b.service"]);
        let expected = ["/no/a", "/no/a-pre", "/no/firejail"].map(Text::from);
        assert_eq!(found["a.service"].programs, expected.into());
        assert!(!found["a.service"].logs_calls && found["b.service"].logs_calls);
    }
}
