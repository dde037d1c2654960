//! Any bytes as a log for `harden audit`: what is printed is whole lines of harden's own, and what is proposed can be read as
//! overrides.

#![no_main]

use std::{path::Path, sync::LazyLock};

use harden_agent::{cli, observation, observation::Observation, policy::Overrides};
use libfuzzer_sys::fuzz_target;

/// An observation that has the program of the seeds, so that something is proposed.
static OBSERVED: LazyLock<Vec<Observation>> = LazyLock::new(|| {
    let json = include_str!("../../harden-agent/tests/fixtures/observation.json");
    let program = "\"/usr/bin/restd\"";
    let json = json.replace("\"/usr/sbin/nginx\"", program);
    assert!(json.contains(program));
    vec![observation::from_json(json.as_bytes()).expect("an observation")]
});

fuzz_target!(|log: &[u8]| {
    let overrides = Path::new("/no/such/directory");
    // Damaged gzip is an error.
    let Ok([text, json]) = cli::audit::printed(log, &OBSERVED, overrides) else {
        return;
    };
    assert!(!text.contains(|one: char| one != '\n' && one.is_control()));
    for line in json.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(value["kind"].is_string());
    }
    let mut proposed = text.split("\n[allow]\n").skip(1);
    assert!(proposed.all(|rest| {
        let line = rest.lines().next().unwrap_or_default();
        Overrides::parse(&format!("[allow]\n{line}\n")).is_ok()
    }));
});
