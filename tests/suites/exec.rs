//! What a program is, in whatever way it is begun: by descriptor, from memory, as a script.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};
use harden_agent::observation::{Abi, Executable};
use harden_tests::{
    Scratch, harden, met,
    observed::{acts, assert_same, facts, printed_acts, run},
    programs::install,
};

fn calls(facts: &Executable, abi: Abi) -> Vec<&str> {
    let calls = facts.syscalls.get(&abi).into_iter().flatten();
    calls.map(|(name, _)| name.as_str()).collect()
}

/// The program that ends is another than the one that was begun.
fn hands_over(from: &Executable, to: &Executable) {
    assert!(calls(from, Abi::Native).contains(&"execveat"));
    assert!(!calls(from, Abi::Native).contains(&"exit_group"));
    assert!(calls(to, Abi::Native).contains(&"exit_group"));
    assert!(!calls(to, Abi::Native).contains(&"execveat"));
}

#[test]
fn a_program_by_its_descriptor() -> Result<()> {
    if !met("a_program_by_its_descriptor", &[]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let execs = install("execs", &bin)?;
    let execs = execs.to_str().context("a path in UTF-8")?;
    let recorded = harden::record("fexecve", &[], &[execs, "descriptor", "/bin/true"])?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    assert_eq!(run(&recorded.observation).executables.len(), 2);
    let became = facts(&recorded.observation, "true");
    hands_over(facts(&recorded.observation, "execs"), became);
    assert_eq!(became.invoked_as.len(), 1);
    let name = became.invoked_as.keys().next().context("a name")?;
    assert!(name.as_path().starts_with("/dev/fd"), "{name}");
    Ok(())
}

#[test]
fn a_program_that_has_no_file() -> Result<()> {
    if !met("a_program_that_has_no_file", &[]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let execs = install("execs", &bin)?;
    let execs = execs.to_str().context("a path in UTF-8")?;
    let recorded = harden::record("memory", &[], &[execs, "memory", "/bin/true"])?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let executables = &run(&recorded.observation).executables;
    assert_eq!(executables.len(), 2, "{:?}", executables.keys());
    let from = facts(&recorded.observation, "execs");
    let mut others = executables.iter().filter(|(_, facts)| *facts != from);
    let (name, became) = others.next().context("another program")?;
    hands_over(from, became);
    // Its bytes came from /bin/true; but neither that nor any directory is what runs.
    assert!(name.to_string().starts_with("/unknown program"), "{name}");
    assert_eq!(became.inodes.len(), 1);
    assert!(
        from.arguments
            .keys()
            .any(|fact| fact.as_str() == "memfd-create")
    );
    Ok(())
}

#[test]
fn a_script_is_its_interpreter() -> Result<()> {
    if !met("a_script_is_its_interpreter", &["dash"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/var/tmp"))?;
    let (inner, outer) = (dir.path().join("inner"), dir.path().join("outer"));
    fs::write(&inner, "#!/bin/dash\n: > \"${0%/*}/made\"\n")?;
    // A script whose interpreter is one.
    fs::write(&outer, format!("#!{}\n", inner.display()))?;
    for script in [&inner, &outer] {
        fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
    }
    for (script, other) in [(&inner, &outer), (&outer, &inner)] {
        let recorded = harden::record("script", &[], &[script])?;
        assert_eq!(recorded.status, 0, "{}", recorded.output);
        let executables = &run(&recorded.observation).executables;
        assert_eq!(executables.len(), 1, "{:?}", executables.keys());
        let shell = facts(&recorded.observation, "dash");
        let invoked = |name: &Path| shell.invoked_as.keys().any(|key| key.as_path() == name);
        assert!(invoked(script) && !invoked(other), "{:?}", shell.invoked_as);
        let acts = acts(shell, dir.path());
        // Whatever was started, the shell reads the inner one, and the kernel alone the outer one.
        assert!(acts.contains("read ok inner"), "{acts:?}");
        assert!(!acts.contains("read ok outer"), "{acts:?}");
        assert!(acts.contains("create ok made"), "{acts:?}");
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_the_32_bit_abi_from_a_64_bit_program() -> Result<()> {
    if !met("calls_of_the_32_bit_abi_from_a_64_bit_program", &[]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let narrow = install("narrow", &bin)?;
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    fs::write(tree.path().join("file"), "")?;
    let command = [narrow.as_os_str(), tree.path().as_os_str()];
    let recorded = harden::record("narrow", &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let facts = facts(&recorded.observation, "narrow");
    assert_eq!(calls(facts, Abi::Ia32), ["access", "mkdir", "open"]);
    // What these numbers are natively was not called.
    for other in ["getpid", "dup2", "mkdir"] {
        assert!(!calls(facts, Abi::Native).contains(&other), "{other}");
    }
    assert_same(&printed_acts(&recorded.output), &acts(facts, tree.path()));
    Ok(())
}
