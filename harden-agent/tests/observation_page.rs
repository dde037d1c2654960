//! The page about the observation file says what this build does.

use harden_agent::observation::{Observation, from_json, to_json};

const PAGE: &str = include_str!("../../docs/observation.md");
const FIXTURE: &str = include_str!("fixtures/observation.json");

/// The page's example, read.
fn example() -> Option<Observation> {
    let (_, rest) = PAGE.split_once("```json\n")?;
    let (json, _) = rest.split_once("```")?;
    from_json(json.as_bytes()).ok()
}

#[test]
fn the_example_is_an_observation() {
    let example = example().unwrap();
    let run = example.runs.values().next().unwrap();
    let executable = run.executables.values().next().unwrap();
    let path = executable.files.keys().next().unwrap();
    assert_eq!(path.as_bytes(), b"/srv/two words\nand \xFF");
    assert_eq!(from_json(&to_json(&example).unwrap()).unwrap(), example);
}

/// Every field of the fixture, which shows them all, is on the page.
#[test]
fn every_field_is_explained() {
    let fixture: serde_json::Value = serde_json::from_str(FIXTURE).unwrap();
    let fixture = serde_json::to_string_pretty(&fixture).unwrap();
    let fields = fixture
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\": "))
        .map(|(key, _)| key)
        .filter(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    // Names of facts, not of fields.
    let facts = [
        "accept4",
        "openat",
        "setuid",
        "getpid",
        "net_bind_service",
        "sys_admin",
    ];
    let facts = [
        &facts[..],
        &["inet", "unix", "stream", "ok", "bind", "connect"],
    ]
    .concat();
    for field in fields.filter(|field| !facts.contains(field)) {
        assert!(
            PAGE.contains(&format!("`{field}`")),
            "the page lacks {field}"
        );
    }
}

/// The operations and kinds of check that the page lists are those that the file may hold.
#[test]
fn the_lists_are_complete() {
    use harden_agent::observation::{CapabilityCheck, ControlCommand, Operation, RunKind};

    /// The names that serde names when it gets one that is none.
    fn variants<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
        let error = serde_json::from_str::<T>("\"?\"").unwrap_err().to_string();
        let (_, names) = error.split_once("one of ").unwrap();
        let names = names.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect()
    }
    let mut names = variants::<Operation>();
    names.extend(variants::<CapabilityCheck>());
    names.extend(variants::<ControlCommand>());
    names.extend(variants::<RunKind>());
    assert!(names.len() > 30);
    for name in names {
        assert!(PAGE.contains(&format!("`{name}`")), "the page lacks {name}");
    }
}
