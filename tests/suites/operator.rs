//! What an operator does with the agent: lists its units, names them in short, drops what was recorded of them, and reads
//! what went wrong.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{
    agent::request::{UnitState, UnitSummary, Verdict},
    observation::{Observation, Operation, RunKind},
};
use harden_tests::{
    Agent, Machine, Scratch, Setup, as_patient,
    deeds::{Then, Unit, Workshop},
    harden, met, programs,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Units of a test's own, beside which others may run.
fn setup<'a>(include: &'a [&'a str]) -> Setup<'a> {
    Setup {
        include,
        state: "compact_every = \"1s\"",
        beside: true,
        ..Setup::default()
    }
}

/// Does these deeds in `unit`, and stays.
fn work(workshop: &Workshop, unit: &Unit, first: usize, count: usize) -> Result<Working> {
    let child = workshop.begin(unit, first, count, Duration::ZERO, Then::Stay)?;
    Ok(Working(child))
}

/// A process that is ended when dropped.
struct Working(Child);

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The numbers of the deeds whose files were made in runs of this kind.
fn deeds(workshop: &Workshop, observation: &Observation, kind: RunKind) -> BTreeSet<usize> {
    let runs = observation.runs.values().filter(|run| run.kind == kind);
    let files = runs
        .flat_map(|run| run.executables.values())
        .flat_map(|facts| &facts.files);
    let made = files.filter(|(_, file)| file.operations.has(Operation::Create));
    let numbers = made.filter_map(|(path, _)| {
        let name = path.as_path().strip_prefix(workshop.files()).ok()?;
        name.to_str()?.parse().ok()
    });
    numbers.collect()
}

fn listed(agent: &Agent, arguments: &[&str]) -> Result<Vec<String>> {
    let text = agent.say(&[&["units", "--json"], arguments].concat())?;
    let units: Vec<UnitSummary> = serde_json::from_str(&text)?;
    Ok(units
        .into_iter()
        .map(|unit| unit.unit.to_string())
        .collect())
}

/// Waits until the agent has these deeds of `unit`, and no others.
fn until_has(
    agent: &mut Agent,
    workshop: &Workshop,
    unit: &str,
    kind: RunKind,
    expected: impl IntoIterator<Item = usize>,
) -> Result<Observation> {
    let expected: BTreeSet<usize> = expected.into_iter().collect();
    agent.until(|agent| {
        let observation = agent.snapshot(unit)?;
        let found = deeds(workshop, &observation, kind);
        ensure!(found == expected, "{unit}: {found:?}, not {expected:?}");
        Ok(observation)
    })
}

#[test]
fn each_unit_has_a_state_and_a_verdict() -> Result<()> {
    if !met("each_unit_has_a_state_and_a_verdict", &["sh"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut agent = Agent::start(&setup(&["listed-*"]))?;
    let _silent = workshop.unit("listed-silent.service")?;
    let busy = workshop.unit("listed-busy.service")?;
    let _working = work(&workshop, &busy, 0, 20)?;
    for _ in 0..6 {
        workshop.run("listed-again.service", 0, 5, Duration::ZERO)?;
    }
    let known = agent.until(|agent| {
        let units = agent.units()?;
        let words: Vec<_> = units
            .iter()
            .map(|unit| (unit.unit.to_string(), unit.state, unit.verdict, unit.tests))
            .collect();
        let expected = [
            (
                "listed-again.service".to_owned(),
                UnitState::Inactive,
                Verdict::Ready,
                6,
            ),
            (
                "listed-busy.service".to_owned(),
                UnitState::Active,
                Verdict::FewTests,
                1,
            ),
            (
                "listed-silent.service".to_owned(),
                UnitState::Silent,
                Verdict::FewTests,
                0,
            ),
        ];
        ensure!(words == expected, "{units:#?}");
        Ok(units)
    })?;
    ensure!(known[2].calls == 0 && known[2].runs == 0, "{:?}", known[2]);
    let text = agent.say(&["units"])?;
    for word in ["STATE", "VERDICT", "too few tests", "ready", "silent"] {
        ensure!(text.contains(word), "{word} is not in\n{text}");
    }

    let again = "listed-again.service";
    let (busy, silent) = ("listed-busy.service", "listed-silent.service");
    for (arguments, expected) in [
        (&["--state", "silent"][..], &[silent][..]),
        (&["--state", "silent,active"], &[busy, silent]),
        (&["--verdict", "ready"], &[again]),
        (&["*-b*", "listed-silent"], &[busy, silent]),
        (&["nothing*"], &[]),
        (&["--sort", "calls"], &[busy, again, silent]),
        (&["--sort", "tests"], &[again, busy, silent]),
    ] {
        let found = listed(&agent, arguments)?;
        ensure!(found == expected, "{arguments:?}: {found:?}");
    }
    Ok(())
}

#[test]
fn a_unit_is_known_by_every_name_that_is_printed_and_by_short_ones() -> Result<()> {
    let test = "a_unit_is_known_by_every_name_that_is_printed_and_by_short_ones";
    if !met(test, &["sh"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut agent = Agent::start(&setup(&["named-*"]))?;
    let payload = workshop.unit("payload")?;
    let names = [
        "named-one.service",
        "named-two.socket",
        "named-two.scope",
        r"named-a\x2db.mount",
        "payload/named-inside.service",
    ];
    let units = names.map(|name| workshop.unit(name));
    let units: Vec<Unit> = units.into_iter().collect::<Result<_>>()?;
    let working = units.iter().map(|unit| work(&workshop, unit, 0, 5));
    let working: Vec<Working> = working.collect::<Result<_>>()?;
    // As `units` prints them.
    let printed = agent.until(|agent| {
        let units = listed(agent, &["--state", "active"])?;
        ensure!(units.len() == names.len(), "{units:?}");
        Ok(units)
    })?;
    ensure!(printed[0].starts_with('/'), "{printed:?}");
    ensure!(
        printed.contains(&r"named-a\\x2db.mount".to_owned()),
        "{printed:?}"
    );
    let short = [
        "named-one",
        r"named-a\x2db",
        "named-inside",
        r"named-a\x2db.mount",
    ];
    for name in printed.iter().map(String::as_str).chain(short) {
        takes(&agent, name).with_context(|| name.to_owned())?;
    }
    for command in [
        &["snapshot", "named-two"][..],
        &["mark", "case", "--unit", "named-two"],
        &["watch", "named-two"],
    ] {
        let output = agent.harden(command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(5), "{command:?}: {output:?}");
        ensure!(said.contains("named-two.scope, named-two.socket"), "{said}");
    }
    drop((working, units));
    drop(payload);
    Ok(())
}

/// Every command that takes a unit takes this name.
fn takes(agent: &Agent, name: &str) -> Result<()> {
    let out = Scratch::new(Path::new("/run"))?;
    let directory = out.path().to_str().context("UTF-8")?;
    agent.say(&[
        "snapshot",
        name,
        "--format",
        "observation",
        "--out",
        directory,
    ])?;
    agent.say(&["explain", name, "openat"])?;
    agent.say(&["diff", name, name])?;
    agent.say(&["mark", "case", "--unit", name])?;
    agent.say(&["mark", "--end", "--unit", name])?;
    // That a check is refused is no matter here.
    let report = agent.harden(&["doctor", "--json", "--unit", name])?;
    let report: Value = serde_json::from_slice(&report.stdout)?;
    let unit = &report["units"][0];
    ensure!(
        unit["error"].is_null() && unit["processes"][0]["pid"].is_u64(),
        "{unit}"
    );
    let mut watching = agent
        .command(&["watch", name])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    thread::sleep(as_patient(Duration::from_millis(200)));
    watching.kill()?;
    let said = watching.wait_with_output()?.stderr;
    ensure!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}

#[test]
fn what_is_forgotten_does_not_come_back_and_its_run_goes_on() -> Result<()> {
    let test = "what_is_forgotten_does_not_come_back_and_its_run_goes_on";
    if !met(test, &["sh"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut agent = Agent::start(&setup(&["forgotten-*"]))?;
    let name = "forgotten-one.service";
    let unit = workshop.unit(name)?;
    let other = workshop.unit("forgotten-other.service")?;
    let _working = work(&workshop, &unit, 0, 5)?;
    let _beside = work(&workshop, &other, 0, 5)?;
    workshop.run("forgotten-past.service", 0, 5, Duration::ZERO)?;
    let before = until_has(&mut agent, &workshop, name, RunKind::Invocation, 0..5)?;
    let file = agent.state().join(format!("units/{name}.json"));
    agent.until(|_| {
        ensure!(file.exists(), "{} is not there", file.display());
        Ok(())
    })?;

    let unknown = agent.harden(&["forget", "forgotten-nothing"])?;
    ensure!(unknown.status.code() == Some(5), "{unknown:?}");
    let said = agent.say(&["forget", name])?;
    ensure!(said.contains("goes on from zero"), "{said}");
    ensure!(!file.exists(), "{} is still there", file.display());
    agent.until(|agent| {
        let log = agent.log();
        ensure!(log.contains("what was recorded of it is dropped"), "{log}");
        Ok(())
    })?;
    let nothing = agent.harden(&["snapshot", name])?;
    ensure!(nothing.status.code() == Some(7), "{nothing:?}");
    // Neither from the journal nor from what is in the kernel.
    agent.end(Signal::SIGKILL)?;
    agent.begin(&[])?;
    let silent = listed(&agent, &["--state", "silent"])?;
    ensure!(silent == [name], "{silent:?}");

    let _more = work(&workshop, &unit, 10, 3)?;
    let after = until_has(&mut agent, &workshop, name, RunKind::Invocation, 10..13)?;
    ensure!(after.runs.keys().eq(before.runs.keys()), "another run");
    for (id, run) in &after.runs {
        ensure!(run.started > before.runs[id].started, "{run:?}");
    }
    agent.end(Signal::SIGKILL)?;
    agent.begin(&[])?;
    until_has(&mut agent, &workshop, name, RunKind::Invocation, 10..13)?;

    // A case that is open goes on.
    agent.say(&["mark", "case", "--unit", name])?;
    let _third = work(&workshop, &unit, 20, 3)?;
    until_has(&mut agent, &workshop, name, RunKind::Mark, 20..23)?;
    agent.say(&["forget", name])?;
    let _fourth = work(&workshop, &unit, 30, 3)?;
    let marked = until_has(&mut agent, &workshop, name, RunKind::Mark, 30..33)?;
    ensure!(deeds(&workshop, &marked, RunKind::Invocation).is_empty());
    agent.say(&["mark", "--end", "--unit", name])?;

    until_has(
        &mut agent,
        &workshop,
        "forgotten-other",
        RunKind::Invocation,
        0..5,
    )?;
    // A pattern, of what is there and of what has ended.
    let said = agent.say(&["forget", "forgotten-[op]*"])?;
    ensure!(said.matches("forgot ").count() == 3, "{said}");
    let left = listed(&agent, &["--state", "active,inactive"])?;
    ensure!(left.is_empty(), "{left:?}");
    agent.end(Signal::SIGTERM)?;
    agent.begin(&[])?;
    let left = listed(&agent, &["--state", "active,inactive"])?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn a_snapshot_warns_and_leaves_out_what_has_no_run() -> Result<()> {
    if !met("a_snapshot_warns_and_leaves_out_what_has_no_run", &["sh"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut agent = Agent::start(&setup(&["shot-*"]))?;
    let _silent = workshop.unit("shot-silent.service")?;
    let busy = workshop.unit("shot-busy.service")?;
    let _working = work(&workshop, &busy, 0, 5)?;
    agent.until(|agent| {
        let active = listed(agent, &["--state", "active"])?;
        ensure!(active.len() == 1, "{active:?}");
        Ok(())
    })?;
    let out = Scratch::new(Path::new("/run"))?;
    let directory = out.path().to_str().context("UTF-8")?;
    let shoot = |arguments: &[&str]| {
        let common = [
            "snapshot",
            "--out",
            directory,
            "--firejail-version",
            "0.9.72",
        ];
        agent.harden(&[&common[..], arguments].concat())
    };
    let output = shoot(&["shot-silent", "shot-busy"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(7), "{output:?}");
    ensure!(
        said.contains("nothing is recorded of shot-silent.service"),
        "{said}"
    );
    ensure!(
        said.contains("warning[few-tests]: shot-busy.service: "),
        "{said}"
    );
    let written = fs::read_dir(out.path())?.count();
    ensure!(written == 2, "{written} files");
    let output = shoot(&["--json", "shot-silent"])?;
    let error = json_error(&output)?;
    ensure!(error["error"] == "no-runs", "{error}");
    let output = shoot(&["--json", "--all"])?;
    let said: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(said["without_runs"][0] == "shot-silent.service", "{said}");
    ensure!(
        said["warnings"]["shot-busy.service"][0]["id"].is_string(),
        "{said}"
    );
    Ok(())
}

/// The error of a command that was to say it in JSON.
fn json_error(output: &Output) -> Result<Value> {
    ensure!(!output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    let error: Value = serde_json::from_str(text.lines().last().unwrap_or_default())
        .with_context(|| text.clone().into_owned())?;
    for key in ["error", "message"] {
        ensure!(error[key].is_string(), "{error}");
    }
    ensure!(
        error
            .as_object()
            .is_some_and(|error| error.contains_key("hint")),
        "{error}"
    );
    Ok(error)
}

#[test]
fn errors_are_json_where_json_was_asked_for() -> Result<()> {
    let ask = |arguments: &[&str]| -> Result<Value> {
        let mut command = Command::new(harden::binary());
        command.env("HARDEN_SOCKET", "/nonexistent/socket");
        json_error(&command.args(arguments).stdin(Stdio::null()).output()?)
    };
    for arguments in [
        &["units", "--json"][..],
        &["status", "--json"],
        &["snapshot", "--json", "a"],
        &["mark", "--json", "a"],
        &["forget", "--json", "a"],
        &["watch", "--json"],
        &["diff", "--json", "a", "b"],
    ] {
        let error = ask(arguments)?;
        ensure!(error["error"] == "no-agent", "{arguments:?}: {error}");
    }
    let error = ask(&["diff", "--json", "/nonexistent.json", "b"])?;
    ensure!(error["error"] == "failed", "{error}");
    let error = ask(&["run", "--json", "--user", "no such user", "--", "true"])?;
    ensure!(error["error"] == "failed", "{error}");
    for arguments in [
        &["doctor", "--json", "--no"][..],
        &["units", "--json", "--sort", "x"],
    ] {
        let error = ask(arguments)?;
        ensure!(error["error"] == "usage", "{arguments:?}: {error}");
    }
    Ok(())
}

#[test]
fn the_log_names_the_units_of_a_loss() -> Result<()> {
    if !met("the_log_names_the_units_of_a_loss", &["sh"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut agent = Agent::start(&setup(&["lossy-*"]))?;
    agent.end(Signal::SIGTERM)?;
    let config = fs::read_to_string(agent.config())?;
    fs::write(
        agent.config(),
        config.replace("[kernel]", "[kernel]\nslots = 2"),
    )?;
    agent.begin(&[])?;
    let units = ["a", "b", "c", "d", "e", "f"].map(|name| format!("lossy-{name}.service"));
    let units = units.map(|name| workshop.unit(&name));
    let units: Vec<Unit> = units.into_iter().collect::<Result<_>>()?;
    let working = units.iter().map(|unit| work(&workshop, unit, 0, 5));
    let _working: Vec<Working> = working.collect::<Result<_>>()?;
    agent.until(|agent| {
        let log = agent.log();
        let line = log.lines().find(|line| line.contains("(slots-exhausted)"));
        let line = line.context("nothing is said of a loss")?;
        ensure!(
            line.contains(" of lossy-") && !line.contains("perhaps"),
            "{line}"
        );
        Ok(())
    })
}

#[test]
fn what_an_agent_uses_is_not_unloaded() -> Result<()> {
    if !met("what_an_agent_uses_is_not_unloaded", &["sh"]) {
        return Ok(());
    }
    let agent = Agent::start(&setup(&["unloaded-*"]))?;
    let pid = agent.status()?.pid;
    let unload = agent
        .command(&["agent", "--unload", "--config"])
        .arg(agent.config())
        .output()?;
    let said = String::from_utf8_lossy(&unload.stderr);
    ensure!(!unload.status.success(), "{unload:?}");
    ensure!(said.contains(&format!("(process {pid})")), "{said}");
    ensure!(said.contains("systemctl stop harden"), "{said}");
    ensure!(fs::read_dir(agent.home().join("bpf/harden"))?.count() == 1);
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

/// Starts an agent that cannot start, by way of `before`; with what it says, and whether it made anything.
fn refused(before: &[&str], pin: &Path) -> Result<(String, bool)> {
    let home = Scratch::new(Path::new("/run"))?;
    // Another user may come as far.
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
    let [config, state, socket] =
        ["harden.toml", "state", "socket"].map(|name| home.path().join(name));
    let pin = home.path().join(pin);
    fs::write(
        &config,
        format!(
            "[state]\ndirectory = {:?}\n[kernel]\npin = {:?}\n[control]\nsocket = {:?}\n",
            text(&state)?,
            text(&pin)?,
            text(&socket)?,
        ),
    )?;
    let binary = harden::binary();
    let mut command = match before {
        [] => Command::new(&binary),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&binary);
            command
        }
    };
    let output = command.args(["agent", "--config"]).arg(&config).output()?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let made = [state, pin, socket].iter().any(|path| path.exists());
    Ok((String::from_utf8(output.stderr)?, made))
}

#[test]
fn who_cannot_record_says_why_and_makes_nothing() -> Result<()> {
    if !met(
        "who_cannot_record_says_why_and_makes_nothing",
        &["setpriv", "unshare"],
    ) {
        return Ok(());
    }
    let (said, made) = refused(&[], Path::new("pins/harden"))?;
    ensure!(
        said.contains("pins/harden is not on a BPF file system") && !made,
        "{said}"
    );
    let powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"];
    let inside = ["unshare", "--user", "--map-root-user", "--"];
    for (before, cause) in [
        (&powerless, "CAP_BPF and CAP_PERFMON"),
        (&inside, "user namespace"),
    ] {
        let (said, made) = refused(before, Path::new("/sys/fs/bpf/harden-test-refused"))?;
        ensure!(
            said.contains(cause) && said.contains("on the host") && !made,
            "{said}"
        );
    }
    Ok(())
}

/// Where the program is put: a container does not see this machine's files.
const HARDEN: &str = "/run/harden-under-test";

#[test]
fn who_failed_to_start_is_told_from_who_was_not_started() -> Result<()> {
    let test = "who failed to start is told from who was not started";
    let Some(machine) = Machine::here(test)? else {
        return Ok(());
    };
    // On a machine of ours it may be installed.
    if machine.container().is_none() {
        return Ok(());
    }
    programs::copy(harden::binary(), machine.root().join(&HARDEN[1..]))?;
    let status = || machine.try_run(&[HARDEN, "status"]);
    let output = status()?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    machine.unit(
        "harden.service",
        "[Service]\nExecStart=/bin/sh -c 'exit 5'\n",
    )?;
    let output = status()?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    machine.run(&["systemctl", "start", "harden.service"])?;
    machine.work("systemctl is-failed --quiet harden.service")?;
    let output = status()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(8), "{output:?}");
    ensure!(said.contains("failed (exit-code, exit status 5)"), "{said}");
    let output = machine.try_run(&[HARDEN, "status", "--json"])?;
    ensure!(
        json_error(&output)?["error"] == "agent-failed",
        "{output:?}"
    );
    Ok(())
}
