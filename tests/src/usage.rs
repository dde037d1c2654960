//! What a process takes.

use std::fs;

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};

/// A number of `/proc/PID/status`: of `VmRSS:` and the like, in KiB.
///
/// # Errors
/// The process is gone, or has no such line.
pub fn status(pid: u32, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(number.context(name.to_owned())?.parse()?)
}

/// Processor time so far, in seconds.
///
/// # Errors
/// The process is gone.
pub fn processor(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may have spaces: the state is the third field, the times are the 14th and 15th.
    let (_, rest) = text.rsplit_once(')').context("stat")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let times = fields.get(11..13).context("stat")?;
    let ticks: u32 = times[0].parse::<u32>()? + times[1].parse::<u32>()?;
    let second = sysconf(SysconfVar::CLK_TCK)?.context("CLK_TCK")?;
    Ok(f64::from(ticks) / f64::from(u32::try_from(second)?))
}
