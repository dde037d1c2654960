//! `cargo xtask soak`: what weeks, many kills, a million paths, floods and units without end do to the agent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};

use crate::{
    build,
    setup::{self, Scope},
    suites::Here,
    workspace::Profile,
};

/// Arguments of `cargo xtask soak`.
#[derive(clap::Args)]
pub struct Args {
    /// How long the week takes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// How often the agent is killed
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Only this suite
    #[arg(long, value_parser = SUITES.map(|(suite, _)| suite))]
    suite: Option<String>,
}

/// Suites and their tests. That of `agent` is how long a snapshot of a hundred units takes: that is promised of a build
/// for use alone.
const SUITES: [(&str, &str); 7] = [
    ("survival", ""),
    ("losses", ""),
    ("neighbours", ""),
    ("soak", ""),
    ("agent", "a_hundred_units"),
    ("instances", ""),
    ("check", ""),
];

/// `cargo xtask soak`
pub fn main(args: &Args) -> Result<()> {
    let harden = build::build(&setup::provide(Scope::Tests)?, Profile::Release)?;
    let suites = Here::build(harden)?;
    let variables = [
        ("HARDEN_TEST_KILLS", args.kills.to_string()),
        ("HARDEN_TEST_PATHS", "1000000".to_owned()),
        ("HARDEN_FLOOD_SECONDS", "60".to_owned()),
        ("HARDEN_CHECKED_PROFILES", "67".to_owned()),
        ("HARDEN_TEST_SEED", new_seed()?.to_string()),
        ("HARDEN_INSTANCES", "20000".to_owned()),
        ("HARDEN_SOAK_MINUTES", args.minutes.to_string()),
    ];
    let suites = suites.with(&variables, Duration::from_secs(60 * (args.minutes + 60)));
    let is_wanted = |suite: &str| args.suite.as_ref().is_none_or(|only| only == suite);
    for (suite, filter) in SUITES.into_iter().filter(|(suite, _)| is_wanted(suite)) {
        let outcome = suites.run(suite, filter, true)?;
        ensure!(outcome.good, "{suite} failed: see above");
    }
    Ok(())
}

/// One that the last run did not have.
fn new_seed() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(now.as_secs())
}
