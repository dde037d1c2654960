//! `harden doctor`, held against what the machine itself says.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use harden_tests::{Process, Scratch, harden, met, programs, skip};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::Pid,
};
use serde_json::Value;

fn doctor(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(harden::binary())
        .arg("doctor")
        .args(arguments)
        .output()?)
}

fn json(arguments: &[&str]) -> Result<Value> {
    let output = doctor(&[&["--json"], arguments].concat())?;
    parse(&output)
}

fn parse(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).with_context(|| {
        let error = String::from_utf8_lossy(&output.stderr);
        format!("{}: {error}", output.status)
    })
}

fn said(program: &str, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name} in {checks:#?}"))
}

#[test]
fn the_report_agrees_with_the_machine() -> Result<()> {
    if !met("doctor agrees with the machine", &["uname"]) {
        return Ok(());
    }
    let output = doctor(&["--json"])?;
    let report = parse(&output)?;
    assert_eq!(report["ready"], true, "{report:#}");
    assert!(output.status.success());
    assert_eq!(report["kernel"]["release"], said("uname", "-r")?);
    assert_eq!(report["kernel"]["architecture"], said("uname", "-m")?);
    let btf = fs::metadata("/sys/kernel/btf/vmlinux")?.len();
    assert_eq!(report["bpf"]["btf_bytes"], btf);

    let mounts = fs::read_to_string("/proc/mounts")?;
    let has = |kind: &str| {
        mounts
            .lines()
            .any(|line| line.split(' ').nth(2) == Some(kind))
    };
    let layout = if has("cgroup") { "hybrid" } else { "unified" };
    assert!(has("cgroup2"));
    assert_eq!(report["cgroups"]["layout"], layout);
    if let Ok(lsm) = fs::read_to_string("/sys/kernel/security/lsm") {
        let modules: Vec<_> = lsm.trim().split(',').collect();
        assert_eq!(report["security"]["lsm"], serde_json::json!(modules));
    }

    let version = report["firejail"]["version"].as_str().unwrap_or_default();
    let told = said("firejail", "--version")?;
    ensure!(!version.is_empty() && told.contains(version), "{told}");
    assert_eq!(report["firejail"]["sandbox_error"], Value::Null);
    Ok(())
}

#[test]
fn what_is_chosen_is_what_a_recording_uses() -> Result<()> {
    if !met("doctor chooses as a recording does", &[]) {
        return Ok(());
    }
    let report = json(&[])?;
    let recorded = harden::record("doctor", &[], &["/bin/true"])?;
    let run = recorded.observation.runs.values().next().context("a run")?;
    let facts = report["hooks"]["facts"].as_object().context("facts")?;
    assert_eq!(facts.len(), run.hooks.len());
    for (fact, hook) in &run.hooks {
        let tiers = facts[fact.as_str()]["tiers"].as_array().context("tiers")?;
        let named = |tier: &&Value| tier["hook"] == hook.as_str();
        match facts[fact.as_str()]["chosen"].as_str() {
            Some(chosen) => {
                assert_eq!(chosen, hook);
                let tier = tiers.iter().find(named).context("the chosen tier")?;
                assert_eq!(tier["status"], "ok", "{tier:#}");
                assert!(tier["load_ms"].as_f64().is_some_and(|time| time > 0.0));
            }
            // Attached in the course of a recording, once the kernel has skipped a program.
            None if fact.as_str() == "skipped-calls" => {}
            None => assert!(hook.starts_with("none"), "{fact}: {hook}"),
        }
        // Every tier that is better than the chosen one has its reason.
        for tier in tiers.iter().take_while(|tier| !named(tier)) {
            if facts[fact.as_str()]["chosen"].is_string() {
                assert_eq!(tier["status"], "refused", "{tier:#}");
                assert!(tier["reason"].is_string(), "{tier:#}");
            }
        }
    }
    Ok(())
}

#[test]
fn without_privileges_it_says_what_is_missing() -> Result<()> {
    if !met("doctor without privileges", &["setpriv"]) {
        return Ok(());
    }
    let scratch = Scratch::new(Path::new("/run"))?;
    // The checkout may lie where nobody else can go.
    let binary = scratch.path().join("harden");
    programs::copy(harden::binary(), &binary)?;
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&binary)
        .args(["doctor", "--json"])
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    let report = parse(&output)?;
    assert_eq!(report["ready"], false);
    let privileges = check(&report, "privileges");
    assert_eq!(privileges["status"], "refused");
    assert!(privileges["says"].to_string().contains("CAP_BPF"));
    assert!(privileges["advice"].to_string().contains("sudo"));
    assert_eq!(check(&report, "hooks")["status"], "refused");
    Ok(())
}

/// Waits for the descendant with that command line to run under a filter.
fn under_filter(process: &Process, title: &str) -> Result<Pid> {
    let confined = |pid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        status.is_ok_and(|status| status.contains("Seccomp:\t2"))
    };
    for _ in 0..2000 {
        if let Some(pid) = process.descendants(title).into_iter().find(confined) {
            return Ok(pid);
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("{title} never came under a filter: {}", process.output())
}

#[test]
fn a_process_under_a_filter_is_found() -> Result<()> {
    if !met("doctor finds filters", &[]) {
        return Ok(());
    }
    let mut firejail = Command::new("firejail");
    firejail.args(["--quiet", "--noprofile", "--seccomp", "sleep", "1000"]);
    let process = Process::start(&mut firejail)?;
    let pid = process.id();
    let sleep = under_filter(&process, "sleep 1000")?;
    let report = json(&["--unit", &pid.to_string()])?;
    let processes = report["units"][0]["processes"].as_array();
    let mut found = processes.context("processes")?.iter();
    let found = found.find(|process| process["pid"] == sleep.as_raw());
    let found = found.context("the confined process")?;
    assert_eq!(found["name"], "sleep");
    assert_eq!(found["seccomp"], 2);
    assert_eq!(found["under_firejail"], true);
    let check = check(&report, &format!("unit {pid}"));
    assert_eq!(check["status"], "warning");
    assert!(check["says"].to_string().contains("seccomp filter"));
    assert!(
        check["advice"]
            .to_string()
            .contains("cannot be learnt from completely")
    );
    // A filter on somebody else does not keep harden from working.
    assert_eq!(report["ready"], true);
    Ok(())
}

#[test]
fn a_process_without_a_filter_is_not_accused() -> Result<()> {
    if !met("doctor accuses nobody", &[]) {
        return Ok(());
    }
    let mut process = Process::start(Command::new("sleep").arg("1000"))?;
    let pid = process.id().to_string();
    let report = json(&["--unit", &pid, "--unit", "no-such-unit.service"])?;
    process.until(|| Ok(()))?;
    let own = &report["units"][0]["processes"][0];
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let filtered = !status.contains("Seccomp:\t0");
    assert_eq!(own["seccomp"] != 0, filtered);
    assert_eq!(own["under_firejail"], false);
    assert!(report["units"][1]["error"].is_string());
    Ok(())
}

/// A file system of its own, unmounted when dropped.
struct Mounted(Scratch);

impl Mounted {
    fn new(kind: &str, flags: MsFlags, options: Option<&str>) -> Result<Self> {
        let scratch = Scratch::new(Path::new("/run"))?;
        mount(Some("none"), scratch.path(), Some(kind), flags, options)
            .with_context(|| format!("mount {kind}"))?;
        Ok(Self(scratch))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// Whether setcap can do it, on a file of its own.
fn setcap(directory: &Path) -> Result<bool> {
    let file = directory.join("program");
    fs::write(&file, "")?;
    let output = Command::new("setcap")
        .arg("cap_net_bind_service=+ep")
        .arg(&file)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output()?;
    Ok(output.status.success())
}

fn names(directory: &Path) -> Result<BTreeSet<std::ffi::OsString>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}

fn assert_as_setcap_finds_it(directory: &Path, kind: &str) -> Result<()> {
    let can = setcap(directory)?;
    let before = names(directory)?;
    let program = directory.join("program");
    let report = json(&[&program.to_string_lossy(), &directory.to_string_lossy()])?;
    for answer in report["file_capabilities"].as_array().context("a list")? {
        let support = if can { "yes" } else { "no" };
        assert_eq!(answer["support"], support, "{kind}: {answer:#}");
        assert_eq!(answer["evidence"], "tried", "{kind}: {answer:#}");
    }
    assert_eq!(report["file_capabilities"][0]["present"], can, "{kind}");
    assert_eq!(names(directory)?, before, "{kind}: something stayed behind");
    Ok(())
}

#[test]
fn file_capabilities_are_told_as_setcap_finds_them() -> Result<()> {
    const NAME: &str = "doctor tells file capabilities";
    if !met(NAME, &["setcap"]) {
        return Ok(());
    }
    let here = Scratch::new(Path::new("/var/tmp"))?;
    assert_as_setcap_finds_it(here.path(), "the root file system")?;
    for kind in ["tmpfs", "ramfs"] {
        match Mounted::new(kind, MsFlags::empty(), None) {
            Ok(mounted) => assert_as_setcap_finds_it(mounted.0.path(), kind)?,
            Err(error) => skip(NAME, &format!("{error:#}")),
        }
    }
    let layers = Mounted::new("tmpfs", MsFlags::empty(), None)?;
    for name in ["lower", "upper", "work"] {
        fs::create_dir(layers.0.path().join(name))?;
    }
    let at = layers.0.path().display();
    let options = format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work");
    match Mounted::new("overlay", MsFlags::empty(), Some(&options)) {
        Ok(mounted) => assert_as_setcap_finds_it(mounted.0.path(), "overlay")?,
        Err(error) => skip(NAME, &format!("{error:#}")),
    }
    Ok(())
}

#[test]
fn where_nothing_can_be_tried_it_says_why() -> Result<()> {
    if !met("doctor tells what it cannot try", &[]) {
        return Ok(());
    }
    let nosuid = Mounted::new("tmpfs", MsFlags::MS_NOSUID, None)?;
    let only = Mounted::new("tmpfs", MsFlags::MS_RDONLY, None)?;
    let report = json(&[
        "/proc/version",
        &nosuid.0.path().to_string_lossy(),
        &only.0.path().to_string_lossy(),
        "/nonexistent/program",
    ])?;
    let answers = &report["file_capabilities"];
    assert_eq!(answers[0]["support"], "no");
    assert_eq!(answers[0]["file_system"], "proc");
    assert_eq!(answers[1]["honoured"], false);
    assert!(answers[2]["reason"].to_string().contains("read-only"));
    assert!(answers[3]["error"].is_string());
    assert_eq!(report["ready"], true);
    Ok(())
}

#[test]
fn a_line_holds_nothing_that_a_terminal_obeys() -> Result<()> {
    let output = doctor(&["-v", "/tmp/\u{1b}[2J\u{202e}\nx", "--unit", "\u{1b}[31m\n"])?;
    let text = String::from_utf8(output.stdout)?;
    assert!(
        !text
            .chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
    );
    let unknown = text.lines().filter(|line| {
        let known = ["ok ", "warning ", "refused ", "  ok ", "  refused ", "    "];
        !known.iter().any(|start| line.starts_with(start))
    });
    // A blank line and the sum.
    assert_eq!(unknown.count(), 2, "{text}");
    Ok(())
}

#[test]
fn every_key_is_documented() -> Result<()> {
    let page = include_str!("../../docs/doctor.md");
    let report = json(&["--unit", "1"])?;
    for (key, value) in report.as_object().context("an object")? {
        assert!(page.contains(&format!("`{key}`")), "{key}");
        let inner = match value {
            Value::Array(list) => list.first(),
            other => Some(other),
        };
        for key in inner
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|object| object.keys())
        {
            assert!(page.contains(&format!("`{key}`")), "{key}");
        }
    }
    Ok(())
}
