//! `harden why`: what a confined daemon is refused has the line that refuses it, and what is accepted is in the next drop-in.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use harden_tests::{Agent, Machine, Scratch, Setup, Written, met};
use serde_json::Value;

use super::drop_in::DAEMONS;

/// What redis needs to write its file.
const CALLS: [&str; 2] = ["fsync", "fdatasync"];
const SET: &str = "redis-cli set key value | grep OK";
/// redis answers with an error, and goes on.
const SAVE: &str = "redis-cli save | grep -i -E 'err|ok'";

fn denied(agent: &Agent, key: &str, options: &[&str]) -> Result<(i32, Value)> {
    let output = agent.harden(&[&["why", key, "--json"], options].concat())?;
    let status = output.status.code().context("harden why was killed")?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(status < 2, "{error}");
    Ok((
        status,
        serde_json::from_slice(&output.stdout).context(error)?,
    ))
}

/// Each denial with its line.
fn pairs(report: &Value) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = report["denied"].as_array().into_iter().flatten();
    all.map(|one| (text(&one["denied"]), text(&one["by"])))
        .collect()
}

#[test]
fn what_is_refused_has_its_line_and_can_be_accepted() -> Result<()> {
    let name = "what is refused has its line and can be accepted";
    if !met(name, &["systemctl"]) {
        return Ok(());
    }
    // Before systemd is started: its children have begun calls of which the agent knows.
    let agent = Agent::start(&Setup::default())?;
    let Some(machine) = Machine::here(name)? else {
        return Ok(());
    };
    let redis = &DAEMONS[1];
    let key = machine.key(redis.unit);
    machine.try_run(&["systemctl", "stop", redis.unit])?;
    redis.live(&machine, Machine::PATIENCE)?;
    let whole = Written::of(&agent, &machine, redis.unit)?.drop_in;
    agent.say(&["forget", &key])?;

    // Without the calls that write a file to the disk, and without the directory where it belongs.
    let mut less: Vec<String> = Vec::new();
    for line in whole.lines() {
        let words = line.split(' ').filter(|word| !CALLS.contains(word));
        less.push(words.collect::<Vec<_>>().join(" "));
    }
    redis.install(&machine, &(less.join("\n") + "\n"))?;
    machine.run(&["systemctl", "start", redis.unit])?;
    machine.work(SET)?;
    machine.work(SAVE)?;
    // Without its file on the disk it does not end.
    machine.run(&["systemctl", "kill", "--signal=KILL", redis.unit])?;
    machine.try_run(&["systemctl", "stop", redis.unit])?;
    let directory = Scratch::new(Path::new("/run"))?;
    let file = directory.path().join("redis.service");
    let overrides = directory.path().join("overrides");
    fs::write(
        &file,
        machine.run(&["systemctl", "cat", "--no-pager", redis.unit])?,
    )?;
    let file = file.to_str().context("a path in UTF-8")?;
    let options = [
        "--profile",
        file,
        "--overrides",
        overrides.to_str().context("a path in UTF-8")?,
    ];

    let (status, report) = denied(&agent, &key, &options)?;
    ensure!(status == 1, "{report}");
    let found = pairs(&report);
    println!("{found:#?}");
    // What brings a daemon to run under its filter is an exec in which harden begins to look: that was not refused.
    let (_, all) = denied(&agent, &key, &[&options[..], &["--all"]].concat())?;
    let is_exec = |(what, _): &(String, String)| what.contains(" execve");
    ensure!(!pairs(&all).iter().any(is_exec), "{all}");
    let refused = found.iter().find(|(what, by)| {
        let is_call = CALLS
            .iter()
            .any(|call| what.ends_with(&format!("native {call} refused")));
        is_call && by.starts_with("SystemCallFilter")
    });
    let (refused, _) = refused.with_context(|| format!("{report}"))?;
    let call = CALLS
        .into_iter()
        .find(|call| refused.contains(&format!(" {call} ")));
    let call = call.context("no call")?;

    // It is not in the next drop-in before it is accepted, and in it afterwards.
    let written = || -> Result<String> {
        let out = Scratch::new(Path::new("/run"))?;
        let out = out.path().to_str().context("a path in UTF-8")?.to_owned();
        let arguments = [
            "snapshot",
            "--format",
            "systemd",
            "--overrides",
            options[3],
            "--out",
            &out,
            &key,
        ];
        agent.say(&arguments)?;
        for entry in fs::read_dir(&out)? {
            let path = entry?.path();
            if path.extension() == Some("conf".as_ref()) {
                return Ok(fs::read_to_string(path)?);
            }
        }
        bail!("no drop-in was written")
    };
    let is_allowed = |text: &str| {
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with("SystemCallFilter="));
        lines.any(|line| line.split([' ', '=']).any(|word| word == call))
    };
    ensure!(
        !is_allowed(&written()?),
        "{call} is allowed before it is accepted"
    );
    denied(&agent, &key, &[&options[..], &["--accept"]].concat())?;
    let after = written()?;
    ensure!(
        is_allowed(&after),
        "{call} is not allowed after it was accepted:\n{after}"
    );
    redis.install(&machine, "")
}
