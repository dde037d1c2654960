//! `--tighten`: what redis asked for in vain alone is taken away, but for what the test needs; and the work that was
//! recorded, of which the test does little, still goes under what is written.

use std::fs;

use anyhow::{Result, ensure};
use harden_tests::{Agent, Machine, Setup};

use super::{HARDEN, OUT, REDIS, SEEN, prepare, trial};

/// What redis does when it is recorded; the test does none of it.
pub(super) const MORE: &str = "set -e; r() { timeout 5 redis-cli \"$@\"; }
r lpush list a b c | grep -q .; r lrange list 0 -1 | grep -q a; r hset hash field 1 | grep -q .
r zadd sorted 1 one 2 two | grep -q .; r sort list alpha | grep -q a; r expire list 100 | grep -q 1
r eval 'return redis.call(\"get\", \"key\")' 0 | grep -q value; r info | grep -q redis_version
r config set maxmemory 100mb | grep -q OK; r client list | grep -q addr; r dump hash | grep -q .
r bgsave | grep -q started; sleep 0.3; r bgrewriteaof | grep -q started; sleep 0.3
r flushall | grep -q OK; r set key value | grep -q OK";

/// Where the written drop-in is put.
const INSTALLED: &str = "/etc/systemd/system/redis-server.service.d/50-tightened.conf";

#[test]
fn what_was_asked_for_in_vain_goes() -> Result<()> {
    let Some(machine) = Machine::here("what was asked for in vain goes")? else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    let (drop_in, observation) = REDIS.drop_in(&agent, &machine)?;
    drop(agent);
    let done = it_goes(&machine, &drop_in, &observation);
    let _ = fs::remove_file(machine.root().join(&HARDEN[1..]));
    done
}

fn it_goes(machine: &Machine, drop_in: &str, observation: &str) -> Result<()> {
    // The kernel asks about it for each mapping, and nobody has ever had it (`cap_vm_enough_memory`).
    let empty = "CapabilityBoundingSet=\n";
    ensure!(drop_in.contains(empty), "{drop_in}");
    let wide = drop_in.replace(
        empty,
        &format!("{empty}CapabilityBoundingSet=CAP_SYS_ADMIN\n"),
    );
    let rig = prepare(machine, &REDIS, &wide)?;
    machine.write(SEEN, observation)?;
    let before = rig.state()?;
    // The test needs it in its place, which the recording cannot know.
    let test = format!(
        "{} && ! grep -rq =~CAP_SYS_ADMIN /run/systemd/system.control",
        REDIS.work
    );
    let said = trial(&rig, &["--test", &test, "--tighten", "--seen", SEEN], 0)?;
    rig.is_as(&before)?;
    let result = said.lines().find(|line| line.contains(" taken away, in "));
    println!("{}", result.unwrap_or_default());
    for line in [
        "  taken away: SystemCallFilter access (all lookups failed)\n",
        "  has to stay: CapabilityBoundingSet CAP_SYS_ADMIN, although only a question (CAP_OPT_NOAUDIT)",
    ] {
        ensure!(said.contains(line), "no {line}{said}");
    }
    ensure!(said.matches("  has to stay: ").count() == 1, "{said}");
    let written = machine.run(&["cat", &format!("{OUT}/redis-server.service.drop-in.conf")])?;
    let line = "# Taken away by harden trial: SystemCallFilter access: all lookups failed; without it this test passes: ";
    ensure!(written.contains(line), "no {line}:\n{written}");
    let overrides = machine.run(&["cat", &format!("{OUT}/redis-server.service.overrides.toml")])?;
    ensure!(
        overrides.contains("[deny]\nsyscalls = ['access'"),
        "{overrides}"
    );
    it_works_under(machine, &written)?;
    rig.is_as(&before)
}

/// All the work that was recorded, and a life more.
fn it_works_under(machine: &Machine, drop_in: &str) -> Result<()> {
    let restart = || {
        machine.run(&["systemctl", "daemon-reload"])?;
        machine.run(&["systemctl", "restart", REDIS.unit])
    };
    machine.write(INSTALLED, drop_in)?;
    restart()?;
    let list = machine.property(REDIS.unit, "SystemCallFilter")?;
    let calls: Vec<&str> = list.split(' ').collect();
    ensure!(
        calls.contains(&"epoll_wait") && !calls.contains(&"access"),
        "{list}"
    );
    for _ in 0..2 {
        machine.work(REDIS.work)?;
        machine.work(MORE)?;
        machine.run(&["systemctl", "restart", REDIS.unit])?;
        machine.work("timeout 2 redis-cli get key | grep -q value")?;
    }
    machine.run(&["rm", INSTALLED])?;
    machine.try_run(&["rmdir", "/etc/systemd/system/redis-server.service.d"])?;
    restart().map(drop)
}
