//! Processes that are not the program's own.

use crate::observation::{Observation, Operation, Text};

use super::paths::is_within;
use super::places::Place;

/// What a place below /proc is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// /proc itself, of which more was asked than whether it is there.
    All,
    /// The process that asked.
    Itself,
    /// Another process, or the same by its number: which one it was is not known.
    Process,
    /// No process at all.
    Rest,
}

/// What a place is about; `None` outside of /proc.
pub(super) fn subject(place: &Place<'_>) -> Option<Subject> {
    if !is_within(&place.path, b"/proc") {
        return None;
    }
    if place.path == b"/proc" {
        let mut uses = place.uses.iter();
        let looked = uses.all(|one| one.operation == Operation::Stat);
        return (!looked).then_some(Subject::All);
    }
    let first = place.path.split(|byte| *byte == b'/').nth(2);
    let first = first.unwrap_or_default();
    let mut names = place.names.iter();
    let by_name =
        |name: &Vec<u8>| is_within(name, b"/proc/self") || is_within(name, b"/proc/thread-self");
    Some(if first == b"self" || first == b"thread-self" {
        Subject::Itself
    } else if first.is_empty() || !first.iter().all(u8::is_ascii_digit) {
        Subject::Rest
    } else if names.any(by_name) {
        Subject::Itself
    } else {
        Subject::Process
    })
}

/// What was done that a PID namespace makes impossible, a clause each.
pub(super) fn others(observation: &Observation, places: &[Place<'_>]) -> Vec<String> {
    let mut others = Vec::new();
    for (path, facts) in observation.runs.values().flat_map(|run| &run.executables) {
        let mut said = facts.arguments.keys();
        if said.any(|name| name.as_str() == "signals-others") {
            others.push(format!("{path} signals processes that are not its own"));
        }
    }
    others.sort_unstable();
    others.dedup();
    let looked = places
        .iter()
        .find(|place| matches!(subject(place), Some(Subject::All | Subject::Process)));
    others.extend(
        looked.map(|place| format!("{} looks at {}", place.executable, Text::from(&place.path))),
    );
    others
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::super::places::places;
    use super::*;

    #[test]
    fn a_process_by_its_number_may_be_another() {
        let of = |fixture: Fixture| {
            let observation = fixture.observation();
            others(&observation, &places(&observation))
        };
        let program = || Fixture::new().executable("/bin/d");
        let read = |path: &str| of(program().file(path, Operation::Read, "ok"));
        assert_eq!(read("/proc/1/stat"), ["/bin/d looks at /proc/1/stat"]);
        assert_eq!(of(program().listing("/proc")).len(), 1);
        assert!(read("/proc/meminfo").is_empty());
        assert!(read("/proc/self/stat").is_empty());
        let itself = Some("/proc/self/exe");
        let itself = program().file_asked("/proc/7/exe", itself, Operation::Readlink, "ok");
        assert!(of(itself).is_empty());
        let looked = program().file("/proc", Operation::Stat, "ok");
        assert!(of(looked).is_empty());
        let signals = of(program().argument("signals-others"));
        assert_eq!(signals, ["/bin/d signals processes that are not its own"]);
    }
}
