//! What the kernel programs say of themselves, at a level that can be changed.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use harden_tests::{Agent, Setup, deeds::Workshop, met};
use nix::sys::signal::Signal;

/// What is said of a slot that is given away.
const SAID: &str = "is of inode";

#[test]
fn it_is_in_the_agents_log_at_its_level_and_after_a_take_over() -> Result<()> {
    let test = "it_is_in_the_agents_log_at_its_level_and_after_a_take_over";
    if !met(test, &["sh"]) {
        return Ok(());
    }
    let mut agent = Agent::start(&Setup {
        include: &["spoken-*"],
        ..Setup::default()
    })?;
    let workshop = Workshop::new()?;
    let work = |agent: &mut Agent, unit: &str| -> Result<String> {
        workshop.run(unit, 0, 1, Duration::ZERO)?;
        agent.until(|agent| agent.snapshot(unit))?;
        Ok(agent.log())
    };
    let said = work(&mut agent, "spoken-0.service")?;
    ensure!(!said.contains(SAID), "{said}");

    // Loaded again at another level; then taken over with it.
    let config = fs::read_to_string(agent.config())?;
    let config = config.replace("[kernel]\n", "[kernel]\nlog_level = 'debug'\n");
    fs::write(agent.config(), config)?;
    for (number, begun) in ["recording starts afresh", "is taken over"]
        .iter()
        .enumerate()
    {
        agent.end(Signal::SIGKILL)?;
        agent.begin(&[])?;
        let unit = format!("spoken-{}.service", number + 1);
        work(&mut agent, &unit)?;
        agent.until(|agent| {
            let said = agent.log();
            let mut lines = said.lines();
            ensure!(said.contains(begun), "{said}");
            ensure!(
                lines.any(|line| line.contains("DEBUG") && line.contains(SAID)),
                "{said}"
            );
            Ok(())
        })?;
    }
    Ok(())
}
