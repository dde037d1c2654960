//! `harden audit`: the records that this kernel makes of refused and logged calls, by action, convention and unit.

#![cfg(target_arch = "x86_64")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Machine, Scratch, as_patient, harden, met, programs};
use serde_json::Value;

const LOG: &str = "7ffc0000";
const ERRNO: &str = "50001";

/// Every object that `harden audit` prints, with `arguments`.
fn audit(arguments: &[&OsStr]) -> Result<(Vec<Value>, i32)> {
    let mut command = Command::new(harden::binary());
    command
        .args(["audit", "--json", "--socket", "/no/such/socket"])
        .args(arguments);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output()?;
    let code = status.code().context("it was killed")?;
    ensure!(code < 2, "{}", String::from_utf8_lossy(&stderr));
    let text = String::from_utf8(stdout)?;
    let values = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    Ok((values, code))
}

/// What was found of a program.
fn findings(program: &str) -> Result<Vec<Value>> {
    let (mut values, code) = audit(&[])?;
    values.retain(|value| value["kind"] == "finding");
    ensure!(
        (code == 1) != values.is_empty(),
        "status {code}: {values:?}"
    );
    values.retain(|value| value["program"] == program);
    Ok(values)
}

fn until<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + as_patient(Duration::from_secs(30));
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(300)),
            result => return result,
        }
    }
}

/// Does `work` until it is found what `is` it: the kernel drops lines when many come at once, from whatever program.
fn found(
    program: &Path,
    is: impl Fn(&Value) -> bool,
    work: impl Fn() -> Result<()>,
) -> Result<Value> {
    let program = program.display().to_string();
    until(|| {
        work()?;
        let found = findings(&program)?;
        let one = found.iter().find(|value| is(value)).cloned();
        one.with_context(|| format!("{program}: {found:?}"))
    })
}

fn install(name: &str, dir: &Scratch) -> Result<PathBuf> {
    let built = programs::install("refused", dir)?;
    let program = dir.path().join(name);
    fs::rename(built, &program)?;
    Ok(program)
}

fn run(program: &Path, arguments: &[&str]) -> Result<()> {
    // It may be killed by its filter.
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status()?;
    Ok(())
}

#[test]
fn each_action_and_convention_is_what_the_program_did() -> Result<()> {
    if !met("each_action_and_convention_is_what_the_program_did", &[]) {
        return Ok(());
    }
    for (code, convention, action, architecture) in [
        ("80000000", "native", "kill-process", "x86_64"),
        ("0", "native", "kill-thread", "x86_64"),
        ("30000", "native", "trap", "x86_64"),
        (ERRNO, "native", "errno", "x86_64"),
        (LOG, "native", "log", "x86_64"),
        (LOG, "32", "log", "i386"),
        (LOG, "x32", "log", "x32"),
    ] {
        let dir = Scratch::new(Path::new("/var/tmp"))?;
        let program = install("refused", &dir)?;
        let found = found(
            &program,
            |_| true,
            || run(&program, &[code, convention, "1"]),
        )?;
        let words = ["call", "action", "architecture"].map(|key| found[key].as_str().unwrap_or(""));
        ensure!(words == ["mkdir", action, architecture], "{found}");
        ensure!(
            found["unit"].is_null() || found["unit_from"] != "command",
            "{found}"
        );
        ensure!(found["reason"].is_string(), "{found}");
        let first: Vec<Value> = findings(&program.display().to_string())?;
        ensure!(first.len() == 1, "{first:?}");
    }
    Ok(())
}

#[test]
fn a_record_is_counted_once_and_its_program_is_one_word() -> Result<()> {
    if !met("a_record_is_counted_once_and_its_program_is_one_word", &[]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/var/tmp"))?;
    let name = OsStr::from_bytes(b"a b\"\nunknown unit: \xff");
    let built = programs::install("refused", &dir)?;
    let program = dir.path().join(name);
    fs::rename(built, &program)?;
    let shown = format!("{}/a b\"\\nunknown unit: \\xFF", dir.path().display());
    let mut runs = 0;
    let found = until(|| {
        run(&program, &[LOG, "native", "2"])?;
        runs += 2;
        let found = findings(&shown)?;
        ensure!(found.len() == 1, "{found:?}");
        Ok(found[0].clone())
    })?;
    // The journal has each of the kernel's lines too, where there is one.
    let count = found["count"].as_u64().context("a count")?;
    ensure!(count <= runs && count >= 1, "{runs}: {found}");
    let all = Command::new(harden::binary()).arg("audit").output()?;
    let text = String::from_utf8(all.stdout)?;
    ensure!(
        !text
            .lines()
            .any(|line| line.starts_with("unknown unit: \u{fffd}")),
        "{text}"
    );
    ensure!(text.contains(&format!("{shown}: mkdir (x86_64)")), "{text}");
    Ok(())
}

#[test]
fn an_observation_makes_it_a_proposal() -> Result<()> {
    if !met("an_observation_makes_it_a_proposal", &[]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/var/tmp"))?;
    let program = install("restd", &dir)?;
    let command = [
        program.as_os_str(),
        "none".as_ref(),
        "native".as_ref(),
        "0".as_ref(),
    ];
    let recorded = harden::record("restd", &[], &command)?;
    found(&program, |_| true, || run(&program, &[LOG, "native", "1"]))?;
    let kernel = Command::new("dmesg").output()?.stdout;
    let log = dir.path().join("log");
    fs::write(&log, kernel)?;
    let observation = recorded.dir.path().join("restd.observation.json");
    let ask = |overrides: &Path| -> Result<Vec<Value>> {
        let arguments = [
            OsStr::new("--observation"),
            observation.as_os_str(),
            "--overrides".as_ref(),
            overrides.as_os_str(),
            log.as_os_str(),
        ];
        let (mut values, _) = audit(&arguments)?;
        values.retain(|value| value["unit"] == "restd");
        Ok(values)
    };
    let values = ask(dir.path())?;
    let [found] = &values[..] else {
        anyhow::bail!("{values:?}");
    };
    ensure!(found["proposed"]["allow"] == "mkdir", "{found}");
    ensure!(found["unit_from"] == "observation", "{found}");
    // What it proposes has the effect that it says: the profile then allows the call.
    let file = found["proposed"]["overrides"].as_str().context("a file")?;
    fs::write(file, "[allow]\nsyscalls = [\"mkdir\"]\n")?;
    let again = ask(dir.path())?;
    ensure!(again[0]["proposed"].is_null(), "{again:?}");
    let mut render = Command::new(harden::binary());
    render.args(["render", "--overrides"]).arg(dir.path());
    let profile = render
        .arg("--out")
        .arg(dir.path())
        .arg(&observation)
        .output()?;
    ensure!(
        profile.status.success(),
        "{}",
        String::from_utf8_lossy(&profile.stderr)
    );
    let profile = fs::read_to_string(dir.path().join("restd.profile"))?;
    let list = profile
        .lines()
        .find_map(|line| line.strip_prefix("seccomp.keep "));
    ensure!(
        list.context(profile.clone())?
            .split(',')
            .any(|call| call == "mkdir"),
        "{profile}"
    );
    Ok(())
}

#[test]
fn firejail_logs_what_it_is_told_to_and_nothing_by_default() -> Result<()> {
    if !met(
        "firejail_logs_what_it_is_told_to_and_nothing_by_default",
        &[],
    ) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/tmp"))?;
    let program = install("jailed", &dir)?;
    let jailed = |options: &[&str]| -> Result<()> {
        let mut firejail = Command::new("firejail");
        firejail
            .args(["--quiet", "--noprofile", "--seccomp.drop=mkdir"])
            .args(options);
        firejail.arg(&program).args(["none", "native", "1"]);
        firejail
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        Ok(())
    };
    jailed(&[])?;
    let is = |action: &'static str| move |value: &Value| value["action"] == action;
    found(&program, is("log"), || {
        jailed(&["--seccomp-error-action=log"])
    })?;
    let killed = |value: &Value| {
        value["action"]
            .as_str()
            .is_some_and(|action| action.starts_with("kill"))
    };
    found(&program, killed, || {
        jailed(&["--seccomp-error-action=kill"])
    })?;
    // The first of them was refused before the others, and is not there.
    let all = findings(&program.display().to_string())?;
    ensure!(
        all.iter()
            .all(|value| value["action"] != "errno" && value["call"] == "mkdir"),
        "{all:?}"
    );
    Ok(())
}

#[test]
fn what_the_kernel_drops_is_counted() -> Result<()> {
    if !met("what_the_kernel_drops_is_counted", &[]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/var/tmp"))?;
    let program = install("refused", &dir)?;
    until(|| {
        run(&program, &[LOG, "native", "300"])?;
        let (values, _) = audit(&[])?;
        let lost = |value: &Value| {
            let losses = &value["losses"];
            ["suppressed", "lost"]
                .iter()
                .any(|kind| losses[kind].as_u64() > Some(0))
        };
        ensure!(values.iter().any(lost), "{values:?}");
        Ok(())
    })
}

#[test]
fn the_unit_is_known() -> Result<()> {
    let Some(machine) = Machine::here("the_unit_is_known")? else {
        return Ok(());
    };
    let dir = Scratch::new(&machine.root().join("var/tmp"))?;
    let installed = install("refused", &dir)?;
    let program = Path::new("/").join(installed.strip_prefix(machine.root())?);
    let unit = |name: &str, arguments: &str, more: &str| {
        let text = format!(
            "[Service]\nType=exec\nExecStart={} {arguments}\n{more}",
            program.display()
        );
        machine.unit(name, &text)
    };
    let start = |name: &str| machine.run(&["systemctl", "restart", name]).map(drop);
    // By its commands it is known at once; by the journal, once that has read what the process printed.
    let of = |name: &str, work: &dyn Fn() -> Result<()>| {
        let key = machine.key(name);
        let is = |value: &Value| value["unit"] == key && value["unit_from"] != "command";
        found(&program, is, work)
    };

    unit("audit-stays.service", &format!("{LOG} native 1 stay"), "")?;
    let stays = of("audit-stays.service", &|| start("audit-stays.service"))?;
    machine.run(&["systemctl", "stop", "audit-stays.service"])?;
    ensure!(stays["call"] == "mkdir", "{stays}");
    if machine.container().is_some() {
        // Its systemd is not this machine's, and the kernel's log is not its.
        ensure!(stays["unit_from"] == "running", "{stays}");
        return Ok(());
    }

    // It is gone when it is asked about, and the journal has what it printed.
    let name = "audit-killed.service";
    unit(name, "none native 1", "SystemCallFilter=~mkdir\n")?;
    let killed = of(name, &|| start(name))?;
    ensure!(killed["proposed"]["allow"] == "mkdir", "{killed}");
    ensure!(killed["unit_from"] == "journal", "{killed}");

    let name = "audit-logged.service";
    unit(name, "none native 1", "SystemCallLog=mkdir\n")?;
    let logged = of(name, &|| start(name))?;
    let reason = logged["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("SystemCallLog="), "{logged}");

    // The kernel says nothing of this one, and harden says so.
    let name = "audit-refused.service";
    unit(
        name,
        "none native 1",
        "SystemCallFilter=~mkdir\nSystemCallErrorNumber=EPERM\n",
    )?;
    start(name)?;
    machine.settle();
    let all = findings(&program.display().to_string())?;
    ensure!(all.iter().all(|value| value["unit"] != name), "{all:?}");
    let (values, _) = audit(&[])?;
    let is_said = |value: &Value| {
        value["what"]
            .as_str()
            .is_some_and(|what| what.contains("SystemCallErrorNumber="))
    };
    ensure!(values.iter().any(is_said), "{values:?}");
    Ok(())
}

/// A record that needs no kernel.
const RECORD: &str = "audit: type=1326 audit(1428331621.110:4): auid=0 uid=0 gid=0 ses=1 pid=7 comm=\"restd\" \
                      exe=\"/usr/bin/restd\" sig=31 arch=c000003e syscall=201 compat=0 ip=0x7f00 code=0x0";

/// Has harden read what the shell `writes` into its standard input, or into a FIFO; with little memory.
fn of_stream(writes: &str, fifo: Option<&Path>) -> Result<Output> {
    let script = "if [ -n \"$2\" ]; then (eval \"$3\") >\"$2\" & from=$2; else from=-; fi
        # Address space, in KiB: an agent's own and 64 MiB.
        ulimit -v 400000
        if [ \"$from\" = - ]; then (eval \"$3\") | \"$1\" audit -; else \"$1\" audit \"$from\"; fi";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(harden::binary());
    shell.arg(fifo.map_or(OsStr::new(""), Path::as_os_str));
    Ok(shell.arg(writes).stdin(Stdio::null()).output()?)
}

#[test]
fn a_stream_may_be_torn_slow_and_endless() -> Result<()> {
    let dir = Scratch::new(Path::new("/tmp"))?;
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU)?;
    let slow = format!(
        "printf '%s\\n' 'half a li'; head -c 70000 /dev/zero; sleep 0.3; printf '%s' '{}'; sleep 0.3; echo '{}'; \
         head -c 1000000 /dev/zero | tr '\\0' x; echo; head -c 5000 /dev/zero",
        &RECORD[..60],
        &RECORD[60..]
    );
    for fifo in [None, Some(&*fifo)] {
        let output = of_stream(&slow, fifo)?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.code() == Some(1), "{text}");
        ensure!(text.contains("/usr/bin/restd: time (x86_64)"), "{text}");
        ensure!(text.contains("1 lines that could not be read"), "{text}");
        for endless in ["cat /dev/zero", "tr '\\0' x </dev/zero"] {
            let output = of_stream(endless, fifo)?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(2), "{endless}: {said}");
            ensure!(said.contains("does not end"), "{endless}: {said}");
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_read_is_an_error() -> Result<()> {
    let run = |arguments: &[&str], input: &[u8]| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(harden::binary());
        command.arg("audit").args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            std::io::Write::write_all(&mut stdin, input)?;
        }
        let output = child.wait_with_output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(said)?))
    };
    let (status, said) = run(&["/no/such/log"], b"")?;
    ensure!(
        status == Some(2) && said.starts_with("harden: /no/such/log: "),
        "{said}"
    );
    let (status, said) = run(&["/dev/zero"], b"")?;
    ensure!(status == Some(2) && said.contains("no log"), "{said}");
    let (status, said) = run(&["-"], b"\x1f\x8b and no more")?;
    ensure!(status == Some(2) && said.lines().count() == 1, "{said}");
    let (status, said) = run(&["-", "--since", "sometime"], b"")?;
    ensure!(status == Some(2) && said.contains("such as 2h"), "{said}");
    let (status, said) = run(&["-"], b"nothing of the kind\n")?;
    ensure!(status == Some(0) && said.starts_with("no record"), "{said}");
    Ok(())
}
