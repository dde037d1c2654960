//! Which capability checks a call depends on: told by the same call without the capability.

use std::{path::Path, process::Command};

use anyhow::Result;
use harden_agent::observation::CapabilityCheck;
use harden_tests::{Scratch, harden, met, observed::facts, programs::install};

/// What `setpcap` does, and whether the kernel lets it without `CAP_SETPCAP`. Each but `bits` asks
/// for it.
const ACTS: [(&str, bool); 5] = [
    ("same", true),
    ("fewer", true),
    ("inherit", false),
    ("bits", false),
    ("bound", false),
];

#[test]
fn a_check_that_nothing_depends_on_is_no_need() -> Result<()> {
    if !met("a_check_that_nothing_depends_on_is_no_need", &["setpriv"]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let setpcap = install("setpcap", &bin)?;
    let setpcap = setpcap.display().to_string();
    for (act, passes) in ACTS {
        let without = ["--inh-caps", "-setpcap", "--bounding-set", "-setpcap"];
        let mut confined = Command::new("setpriv");
        let status = confined.args(without).args([&setpcap, act]).status()?;
        assert_eq!(status.success(), passes, "{act}: {status}");

        let recorded = harden::record("setpcap", &[], &[&setpcap, act])?;
        assert_eq!(recorded.status, 0, "{act}: {}", recorded.output);
        let checks = &facts(&recorded.observation, "setpcap").capabilities;
        let needs = checks.iter().any(|(name, seen)| {
            name.as_str() == "setpcap" && seen.contains_key(&CapabilityCheck::Granted)
        });
        assert_eq!(needs, !passes, "{act}: {checks:?}");
        assert_eq!(recorded.profile.has("caps.drop all"), passes, "{act}");
    }
    Ok(())
}

#[test]
fn in_a_user_namespace_it_is_no_need_outside() -> Result<()> {
    const NAME: &str = "in_a_user_namespace_it_is_no_need_outside";
    if !met(NAME, &["unshare"]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let setpcap = install("setpcap", &bin)?;
    let setpcap = setpcap.display().to_string();
    let command = ["unshare", "--user", "--map-root-user", &setpcap, "bits"];
    let recorded = harden::record("setpcap", &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let facts = facts(&recorded.observation, "setpcap");
    let setpcap = facts
        .capabilities
        .iter()
        .find(|(name, _)| name.as_str() == "setpcap");
    let checks: Vec<_> = setpcap
        .into_iter()
        .flat_map(|(_, checks)| checks.keys())
        .collect();
    assert_eq!(checks, [&CapabilityCheck::ChildUserNamespace]);
    Ok(())
}
