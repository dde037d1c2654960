//! `redis-server`, recorded, enforced, mutated.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{
    Process, Scratch, firejail, harden, met, mutation::assert_each_is_needed, network,
};

const SERVER: &str = "/usr/bin/redis-server";

/// The client runs outside: only the server is confined.
fn redis(words: &[&str]) -> Result<String> {
    let output = Command::new("redis-cli").args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        output.status.success() && !text.contains("ERR"),
        "{words:?}: {text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// Asks until the answer is `expected`.
fn expect(server: &mut Process, words: &[&str], expected: &str) -> Result<()> {
    server.until(|| {
        let answer = redis(words)?;
        ensure!(answer.contains(expected), "{words:?}: {answer}");
        Ok(())
    })
}

/// Everything from the beginning: a first start makes files that later ones only read.
pub(super) fn empty(data: &Scratch) -> Result<()> {
    for entry in fs::read_dir(data.path())? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

pub(super) fn command(data: &Scratch) -> Vec<String> {
    let data = data.path().to_string_lossy();
    [
        SERVER,
        "--dir",
        &data,
        "--appendonly",
        "yes",
        "--save",
        "3600 1",
    ]
    .map(str::to_owned)
    .to_vec()
}

pub(super) fn use_it(server: &mut Process) -> Result<()> {
    expect(server, &["PING"], "PONG")?;
    redis(&["SET", "greeting", "good morning"])?;
    expect(server, &["GET", "greeting"], "good morning")?;
    redis(&["RPUSH", "list", "a", "b", "c"])?;
    expect(server, &["LRANGE", "list", "1", "1"], "b")?;
    redis(&["XADD", "stream", "1-1", "field", "value"])?;
    expect(server, &["XRANGE", "stream", "-", "+"], "value")?;
    let script = "return redis.call('incrby', KEYS[1], ARGV[1])";
    expect(server, &["EVAL", script, "1", "counter", "42"], "42")?;
    // Both fork, and the end of the child is what says that it worked.
    redis(&["BGSAVE"])?;
    expect(server, &["INFO", "persistence"], "rdb_bgsave_in_progress:0")?;
    expect(
        server,
        &["INFO", "persistence"],
        "rdb_last_bgsave_status:ok",
    )?;
    expect(server, &["INFO", "persistence"], "rdb_saves:1")?;
    redis(&["BGREWRITEAOF"])?;
    expect(
        server,
        &["INFO", "persistence"],
        "aof_rewrite_in_progress:0",
    )?;
    expect(server, &["INFO", "persistence"], "aof_rewrites:1")?;
    expect(
        server,
        &["INFO", "persistence"],
        "aof_last_bgrewrite_status:ok",
    )
}

/// What was written before the last stop is there after a start.
fn remember(server: &mut Process) -> Result<()> {
    expect(server, &["GET", "greeting"], "good morning")?;
    expect(server, &["GET", "counter"], "42")
}

#[test]
fn redis_keeps_its_data() -> Result<()> {
    if !met("redis", &[SERVER, "redis-cli", "ip"]) {
        return Ok(());
    }
    network::private(|| {
        let data = Scratch::new(Path::new("/var/lib"))?;
        let command = command(&data);
        let first = harden::record_daemon("redis", &[], &command, use_it)?;
        let second = harden::record_again(first, &command, remember)?;
        let profile = second.profile;
        assert_eq!(second.observation.runs.len(), 2);
        assert!(profile.has("caps.drop all"), "{profile:?}");

        empty(&data)?;
        firejail::run(&profile, &command, use_it).context("first start")?;
        ensure!(data.path().join("dump.rdb").is_file(), "nothing was saved");
        firejail::run(&profile, &command, remember).context("second start")?;

        assert_each_is_needed(
            &profile,
            &[
                ("seccomp.keep", "epoll_wait"),
                // Only the child that saves comes from it.
                ("seccomp.keep", "clone"),
                ("seccomp.keep", "fdatasync"),
                ("protocol", "inet"),
                ("private-bin", "redis-server"),
            ],
            &command,
            || empty(&data),
            use_it,
        );
        Ok(())
    })
}
