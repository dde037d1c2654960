//! The agent's unit and what goes with it, held against systemd's own tools.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Scratch, harden, met, programs};

/// The highest overall exposure, of 10, that the unit may have.
const EXPOSURE: f64 = 3.0;

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(file)
}

fn run(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("{command:?}"))
}

fn words(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() -> Result<()> {
    if !met("the unit is verified", &["systemd-analyze"]) {
        return Ok(());
    }
    let scratch = Scratch::new(Path::new("/run"))?;
    let unit = scratch.path().join("harden.service");
    let text = fs::read_to_string(deploy("harden.service"))?;
    ensure!(text.contains("ExecStart=/usr/bin/harden agent\n"));
    let binary = harden::binary().canonicalize()?;
    fs::write(
        &unit,
        text.replace("/usr/bin/harden", &binary.to_string_lossy()),
    )?;
    let verify = |unit: &Path| {
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", "--recursive-errors=no"]);
        run(command.arg(unit))
    };
    let output = verify(&unit)?;
    ensure!(output.status.success(), "{}", words(&output));
    let ours = |text: &str| text.contains("harden");
    assert!(!words(&output).lines().any(ours), "{}", words(&output));

    // It would have been told.
    fs::write(&unit, text.replace("PrivateTmp=", "PrivateTemp="))?;
    assert!(words(&verify(&unit)?).contains("PrivateTemp"));
    Ok(())
}

/// The pair that warns of stale proofs, with the program where it is.
#[test]
fn systemd_finds_nothing_wrong_with_the_path_unit() -> Result<()> {
    if !met("the path unit is verified", &["systemd-analyze"]) {
        return Ok(());
    }
    let scratch = Scratch::new(Path::new("/run"))?;
    let binary = harden::binary().canonicalize()?;
    let path = scratch.path().join("harden-proof.path");
    for name in ["harden-proof.path", "harden-proof-warn.service"] {
        let text = fs::read_to_string(deploy("proof").join(name))?;
        let text = text.replace("/usr/bin/harden", &binary.to_string_lossy());
        fs::write(scratch.path().join(name), text)?;
    }
    let verify = || {
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no"]);
        run(command.arg(&path))
    };
    let ours = |output: &Output| words(output).lines().any(|line| line.contains("harden"));
    let output = verify()?;
    ensure!(
        output.status.success() && !ours(&output),
        "{}",
        words(&output)
    );
    // The service is looked at too.
    let service = scratch.path().join("harden-proof-warn.service");
    let text = fs::read_to_string(&service)?;
    fs::write(
        &service,
        text.replace("PrivateNetwork=", "PrivateNetworks="),
    )?;
    ensure!(words(&verify()?).contains("PrivateNetworks"));
    Ok(())
}

#[test]
fn the_unit_is_exposed_little() -> Result<()> {
    if !met("the unit's exposure", &["systemd-analyze"]) {
        return Ok(());
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager"]);
    let output = run(command.arg(deploy("harden.service")))?;
    let text = words(&output);
    let (_, score) = text
        .split_once("Overall exposure level for harden.service: ")
        .context(text.clone())?;
    let score: f64 = score.split(' ').next().context("a number")?.parse()?;
    assert!(score <= EXPOSURE, "{text}");
    Ok(())
}

#[test]
fn the_capabilities_are_those_that_were_measured() -> Result<()> {
    let text = fs::read_to_string(deploy("harden.service"))?;
    let needed = "CAP_BPF CAP_PERFMON CAP_DAC_READ_SEARCH CAP_SYS_PTRACE CAP_SYSLOG";
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        let prefix = format!("{key}=");
        let mut values = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        assert_eq!(values.next(), Some(needed));
        assert_eq!(values.next(), None);
    }
    Ok(())
}

/// What the unit's capabilities are enough for, as a user that owns nothing: every hook that root gets.
#[test]
fn the_capabilities_load_what_root_loads() -> Result<()> {
    if !met("the unit's capabilities", &["setpriv"]) {
        return Ok(());
    }
    let scratch = Scratch::new(Path::new("/run"))?;
    // The checkout may lie where nobody else can go.
    let binary = scratch.path().join("harden");
    programs::copy(harden::binary(), &binary)?;
    let set = "-all,+bpf,+perfmon,+dac_read_search,+sys_ptrace,+syslog";
    let mut confined = Command::new("setpriv");
    confined
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["--no-new-privs", "--bounding-set", set])
        .args(["--inh-caps", set, "--ambient-caps", set])
        .arg(&binary)
        .args(["doctor", "--json"]);
    let chosen = |output: &Output| -> Result<serde_json::Value> {
        let report: serde_json::Value =
            serde_json::from_slice(&output.stdout).with_context(|| words(output))?;
        let facts = report["hooks"]["facts"].as_object().context("facts")?;
        Ok(facts
            .iter()
            .map(|(fact, told)| (fact.clone(), told["chosen"].clone()))
            .collect())
    };
    let confined = chosen(&run(&mut confined)?)?;
    let root = chosen(&run(Command::new(&binary).args(["doctor", "--json"]))?)?;
    assert!(root["syscalls"].is_string(), "{root:#}");
    assert_eq!(confined, root);
    Ok(())
}

#[test]
fn user_and_directory_are_made_as_the_unit_needs_them() -> Result<()> {
    if !met(
        "sysusers and tmpfiles",
        &["systemd-sysusers", "systemd-tmpfiles"],
    ) {
        return Ok(());
    }
    let scratch = Scratch::new(Path::new("/run"))?;
    let root = scratch.path();
    fs::create_dir(root.join("etc"))?;
    let option = format!("--root={}", root.display());
    let mut sysusers = Command::new("systemd-sysusers");
    let output = run(sysusers.arg(&option).arg(deploy("sysusers.d/harden.conf")))?;
    ensure!(output.status.success(), "{}", words(&output));
    let passwd = fs::read_to_string(root.join("etc/passwd"))?;
    let user = passwd.lines().find(|line| line.starts_with("harden:"));
    let fields: Vec<_> = user.context(passwd.clone())?.split(':').collect();
    let [_, _, uid, gid, _, home, shell] = fields[..] else {
        anyhow::bail!("{passwd}");
    };
    assert_eq!(home, "/var/lib/harden");
    assert!(shell.ends_with("nologin"), "{shell}");

    let mut tmpfiles = Command::new("systemd-tmpfiles");
    let output = run(tmpfiles
        .args(["--create", &option])
        .arg(deploy("tmpfiles.d/harden.conf")))?;
    ensure!(output.status.success(), "{}", words(&output));
    let made = fs::metadata(root.join("sys/fs/bpf/harden"))?;
    assert_eq!(made.permissions().mode() & 0o7777, 0o700);
    assert_eq!(made.uid().to_string(), uid);
    assert_eq!(made.gid().to_string(), gid);
    Ok(())
}
