//! New facts are told as they come, and each once.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{
    agent::request::NewFact,
    observation::{Operation, Text},
};
use harden_tests::{Agent, Machine, Process, Setup, as_patient, observed};

use super::{beside, done};

/// Does what it reads from a FIFO, a line at a time.
const OBEYS: &str = "[Service]
ExecStartPre=/bin/sh -c 'rm -f /run/harden-orders; mkfifo /run/harden-orders'
ExecStart=/bin/sh -c 'exec 3<>/run/harden-orders; while read -r order <&3; do eval \"$order\"; done'
";

fn order(machine: &Machine, order: &str) -> Result<()> {
    let script = format!("echo '{order}' >/run/harden-orders");
    machine.run(&["sh", "-c", &script]).map(drop)
}

#[test]
fn a_new_fact_is_told_within_a_second_and_once() -> Result<()> {
    let Some(machine) = Machine::here("a new fact is told within a second and once")? else {
        return Ok(());
    };
    let _turn = beside();
    machine.unit("harden-obeys.service", OBEYS)?;
    let mut agent = Agent::start(&Setup {
        beside: true,
        ..Setup::default()
    })?;
    machine.run(&["systemctl", "start", "harden-obeys.service"])?;
    let key = machine.key("harden-obeys.service");
    order(&machine, ": >/run/harden-order-0")?;
    agent.until(|agent| {
        let made = done(&agent.snapshot(&key)?, Operation::Create);
        ensure!(made.contains("/run/harden-order-0"), "{made:?}");
        Ok(())
    })?;
    let mut watch = Process::start(&mut agent.command(&["watch", &key, "--json"]))?;
    let said = watch.output_so_far();
    // It asks for the unit first: it is there once it reports something.
    let mut tries = 0;
    watch.until(|| {
        tries += 1;
        order(&machine, &format!(": >/run/harden-order-try-{tries}"))?;
        thread::sleep(Duration::from_millis(100));
        ensure!(said().contains("harden-order-try-"), "nothing is told");
        Ok(())
    })?;
    let facts = |watch: &Process| -> Result<Vec<NewFact>> {
        let output = watch.output();
        // The last line may be half a line.
        let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
        Ok(whole
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?)
    };
    for number in 1..=3 {
        let file = format!("/run/harden-order-{number}");
        order(&machine, &format!(": >{file}"))?;
        let asked = Instant::now();
        watch.until(|| Ok(())).context("it watches")?;
        let told = loop {
            let told = facts(&watch)?;
            let fact = told
                .iter()
                .find(|fact| fact.fact.to_string().contains(&file))
                .cloned();
            if fact.is_some() || asked.elapsed() > as_patient(Duration::from_secs(10)) {
                break fact;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let took = asked.elapsed();
        println!("told after {took:?}");
        let fact = told.with_context(|| format!("{file} is not told: {}", watch.output()))?;
        assert_eq!(fact.unit, Text::from(&*key));
        assert_eq!(fact.executable, Text::from("/usr/bin/dash"));
        assert!(took < as_patient(Duration::from_secs(1)), "{took:?}");
    }
    for _ in 0..2 {
        for number in 0..=3 {
            order(&machine, &format!(": >/run/harden-order-{number}"))?;
        }
    }
    // And in another invocation.
    machine.run(&["systemctl", "restart", "harden-obeys.service"])?;
    order(&machine, ": >/run/harden-order-1")?;
    order(&machine, ": >/run/harden-order-last")?;
    watch.until(|| {
        ensure!(watch_has(&facts_of(&agent, &key)?, "harden-order-last"));
        Ok(())
    })?;
    thread::sleep(as_patient(Duration::from_millis(500)));
    let told = facts(&watch)?;
    let mut seen = BTreeSet::new();
    for fact in &told {
        let key = (
            fact.executable.to_string(),
            fact.kind,
            fact.fact.to_string(),
        );
        assert!(seen.insert(key.clone()), "told twice: {key:?}");
        assert_eq!(fact.lagged, 0);
    }
    assert!(!watch.output().contains("harden-order-0"), "known before");

    ages(&machine, &mut agent, &key)
}

/// The time since the last new fact grows, and what is not new does not end it.
fn ages(machine: &Machine, agent: &mut Agent, key: &str) -> Result<()> {
    let last_new = |agent: &Agent| -> Result<_> {
        let unit = agent
            .units()?
            .into_iter()
            .find(|unit| unit.unit == Text::from(key));
        unit.context("listed")?.last_new.context("a time")
    };
    // What the restart brought that is only in the records of slots.
    thread::sleep(as_patient(Duration::from_secs(2)));
    let before = last_new(agent)?;
    thread::sleep(Duration::from_secs(2));
    order(machine, ": >/run/harden-order-1")?;
    assert_eq!(last_new(agent)?, before);
    let table = agent.say(&["units"])?;
    let line = table
        .lines()
        .find(|line| line.contains("harden-obeys.service"))
        .context("listed")?;
    // Behind it stand what was lost and the shadow.
    let age: Vec<_> = line.split_whitespace().rev().skip(2).take(2).collect();
    let seconds: u64 = age
        .get(1)
        .context("an age")?
        .parse()
        .context(line.to_owned())?;
    assert!(age[0] == "s" && seconds >= 2 || age[0] == "min", "{line}");
    order(machine, ": >/run/harden-order-newest")?;
    agent.until(|agent| {
        ensure!(last_new(agent)? > before);
        Ok(())
    })?;
    Ok(())
}

/// Opens a file, and looks at it by its descriptor when it is told to: when that is on disk already.
const LOOKS_LATER: &str = "[Service]
ExecStartPre=/bin/sh -c 'rm -f /run/harden-looks; mkfifo /run/harden-looks'
ExecStart=/usr/bin/python3 -c 'import os, time; f = os.open(\"/etc/passwd\", os.O_RDONLY); \
os.open(\"/run/harden-looks\", os.O_RDONLY); os.fstat(f); os.open(\"/etc/group\", os.O_RDONLY); time.sleep(1000)'
";

#[test]
fn what_was_written_is_no_stranger_later() -> Result<()> {
    let Some(machine) = Machine::here("what was written is no stranger later")? else {
        return Ok(());
    };
    let _turn = beside();
    machine.unit("harden-looks.service", LOOKS_LATER)?;
    let mut agent = Agent::start(&Setup {
        include: &["harden-looks.service"],
        state: "compact_every = \"1s\"",
        beside: true,
        ..Setup::default()
    })?;
    machine.run(&["systemctl", "start", "harden-looks.service"])?;
    let key = machine.key("harden-looks.service");
    agent.until(|agent| {
        let read = done(&observed::stored(agent.state(), &key)?, Operation::Read);
        ensure!(read.contains("/etc/passwd"), "{read:?}");
        Ok(())
    })?;
    // Once more is compacted, and nothing of it is in memory.
    thread::sleep(as_patient(Duration::from_millis(2500)));
    machine.run(&["sh", "-c", ": >/run/harden-looks"])?;
    agent.until(|agent| {
        let read = done(&agent.snapshot(&key)?, Operation::Read);
        ensure!(read.contains("/etc/group"), "{read:?}");
        Ok(())
    })?;
    let looked = done(&agent.snapshot(&key)?, Operation::Stat);
    assert!(looked.contains("/etc/passwd"), "{looked:?}");
    machine
        .run(&["systemctl", "stop", "harden-looks.service"])
        .map(drop)
}

fn facts_of(agent: &Agent, unit: &str) -> Result<BTreeSet<String>> {
    Ok(done(&agent.snapshot(unit)?, Operation::Create))
}

fn watch_has(paths: &BTreeSet<String>, name: &str) -> bool {
    paths.iter().any(|path| path.ends_with(name))
}
