//! Clients that send too much, that read too little, or that are too many.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{super::*, stage::*};

/// Runs `work` in a process of its own, where the memory and the descriptors are nobody else's: the
/// test `name`, which calls this, starts itself again there.
fn alone(name: &str, work: impl FnOnce()) {
    const ALONE: &str = "HARDEN_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("agent::control::tests::limits::{name}")])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}");
}

fn kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn what_is_no_call_ends_its_connection_and_no_other() {
    let agent = Agent::start(Limits::default());
    let mut good = agent.connect();
    for bytes in [
        &b"GET / HTTP/1.0\r\n\r\n\0"[..],
        b"\0",
        b"[]\0",
        b"{}\0",
        b"{\"method\": 7}\0",
        b"\xff\xfe\0",
        &[&b"[".repeat(60_000)[..], b"\0"].concat(),
    ] {
        let mut wire = agent.connect();
        wire.send(bytes);
        assert_eq!(wire.reply(), None, "{}", bytes.escape_ascii());
    }
    for call in [
        json!({"method": "io.harden.Agent.Observations", "parameters": {"units": 7}}),
        json!({"method": "io.harden.Agent.Mark", "parameters": {}}),
        json!({"method": "io.harden.Agent.Mark", "parameters": []}),
    ] {
        good.ask(&call);
        let error = good.reply().unwrap();
        assert_eq!(
            error["error"], "org.varlink.service.InvalidParameter",
            "{call}"
        );
    }
    assert!(good.call("io.harden.Agent.Units", &json!({}))["error"].is_null());
}

#[test]
fn an_endless_message_and_half_a_message_are_cut_off() {
    let agent = Agent::start(Limits {
        half: Duration::from_millis(200),
        ..Limits::default()
    });
    let mut endless = agent.connect();
    let chunk = b"x".repeat(4096);
    let mut sent = 0;
    while endless.stream.write_all(&chunk).is_ok() {
        sent += chunk.len();
        assert!(sent < 64 << 20, "nobody stopped it");
    }
    let begun = Instant::now();
    let mut half = agent.connect();
    half.send(b"{\"method\":");
    assert_eq!(half.reply(), None);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(agent.connect().call("io.harden.Agent.Units", &json!({}))["error"].is_null());
}

#[test]
fn one_client_too_many_is_told_so_and_gets_in_when_another_goes() {
    let agent = Agent::start(Limits {
        connections: 4,
        reserved: 1,
        ..Limits::default()
    });
    let mut clients: Vec<Wire> = (0..4).map(|_| agent.connect()).collect();
    for client in &mut clients {
        client.call("io.harden.Agent.Status", &json!({}));
    }
    let mut late = agent.connect();
    let refusal = late.reply().unwrap();
    assert_eq!(
        refusal,
        json!({"error": "io.harden.Agent.TooManyConnections", "parameters": {"limit": 4}})
    );
    assert_eq!(late.reply(), None);
    drop(clients.pop());
    soon("no place was given back", || {
        let mut wire = agent.connect();
        wire.stream
            .write_all(b"{\"method\":\"io.harden.Agent.Units\"}\0")
            .is_ok()
            && wire.reply().is_some_and(|reply| reply["error"].is_null())
    });
}

#[test]
fn thousands_of_connections_cost_nothing_that_stays() {
    alone("thousands_of_connections_cost_nothing_that_stays", || {
        let agent = Agent::start(Limits::default());
        let rounds = |count: usize| {
            for _ in 0..count {
                let mut wire = agent.connect();
                wire.send(b"{\"method\":\"io.harden.Agent.Status\"}\0");
                assert!(wire.reply().is_some());
            }
        };
        let storm = || {
            let open: Vec<UnixStream> = (0..1_000)
                .map_while(|_| UnixStream::connect(&agent.socket).ok())
                .collect();
            assert_eq!(open.len(), 1_000);
        };
        storm();
        rounds(1_000);
        let (memory, files) = (kib("VmRSS:"), descriptors());
        rounds(10_000);
        storm();
        storm();
        soon("no connection is accepted any more", || {
            let mut wire = agent.connect();
            wire.stream
                .write_all(b"{\"method\":\"io.harden.Agent.Units\"}\0")
                .is_ok()
                && wire.reply().is_some_and(|reply| reply["error"].is_null())
        });
        soon("descriptors stay open", || descriptors() <= files + 2);
        let grown = kib("VmRSS:").saturating_sub(memory);
        assert!(grown < 2_048, "{grown} KiB more");
    });
}

#[test]
fn a_watcher_that_never_reads_costs_a_queue_and_no_more() {
    alone(
        "a_watcher_that_never_reads_costs_a_queue_and_no_more",
        || {
            let agent = Agent::start(Limits {
                queue: 16,
                ..Limits::default()
            });
            let mut sleeper = agent.connect();
            sleeper.ask(&json!({"method": "io.harden.Agent.Watch", "more": true}));
            let mut wire = agent.connect();
            let name = "n".repeat(250);
            let mut mark = |count: usize| {
                for _ in 0..count {
                    let reply = wire.call("io.harden.Agent.Mark", &json!({"name": name}));
                    assert!(reply["error"].is_null(), "{reply}");
                }
            };
            // 3,000 facts of 400 bytes: more than a socket's buffer holds.
            mark(1_000);
            let memory = kib("VmRSS:");
            mark(2_000);
            let grown = kib("VmRSS:").saturating_sub(memory);
            assert!(grown < 1_024, "{grown} KiB more");
            // It wakes up, and is told what it missed.
            let mut missed = 0;
            for _ in 0..9_000 {
                mark(1);
                let reply = sleeper.reply().unwrap();
                missed += reply["parameters"]["fact"]["lagged"].as_u64().unwrap();
                if missed > 100 {
                    return;
                }
            }
            panic!("only {missed} were left out");
        },
    );
}

#[test]
fn a_watcher_that_is_gone_gives_its_place_back_without_any_fact() {
    let agent = Agent::start(Limits {
        connections: 2,
        reserved: 0,
        ..Limits::default()
    });
    for _ in 0..20 {
        soon("its place is not given back", || {
            let mut watcher = agent.connect();
            let asked = watcher
                .stream
                .write_all(b"{\"method\":\"io.harden.Agent.Watch\",\"more\":true}\0")
                .is_ok();
            watcher
                .stream
                .set_read_timeout(Some(Duration::from_millis(20)))
                .unwrap();
            // Neither refused nor ended.
            asked
                && watcher
                    .stream
                    .read(&mut [0; 1])
                    .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
    }
}
