//! `harden check`: what it predicts of changed profiles is what Firejail and systemd do to the daemon.
//!
//! Each of three daemons is recorded once. Then its profile is changed at random, one line at a time: an element is taken
//! out, or a line is added that refuses something. The same work is done under each, and compared with what was predicted.
//! So many profiles of each daemon are tried as `HARDEN_CHECKED_PROFILES` says.

mod changes;
mod containers;
mod firejail;
mod systemd;
mod units;

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::harden;
use serde_json::Value;

/// How often what was predicted came true, by directive.
#[derive(Default)]
struct Matrix(BTreeMap<String, [usize; 6]>);

/// What is predicted of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Predicted {
    Allowed,
    /// It depends on what was not recorded, or a line could not be judged; the report says which.
    Doubted,
    Refused,
}

impl Matrix {
    fn add(&mut self, directive: &str, predicted: Predicted, worked: bool) {
        let row = self.0.entry(directive.to_owned()).or_default();
        row[2 * predicted as usize + usize::from(!worked)] += 1;
    }

    /// How many profiles were predicted to work, and did not.
    fn missed(&self) -> usize {
        self.0.values().map(|row| row[1]).sum()
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "| changed | allowed: worked | failed | doubted: worked | failed | refused: worked | failed |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for (directive, row) in &self.0 {
            let cells: Vec<String> = row.iter().map(ToString::to_string).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| `{directive}` | {} |", cells.join(" | "));
        }
        text
    }
}

/// What is not known of a profile.
fn doubts(report: &Value) -> Vec<&Value> {
    let reasons = report["facts_not_judged"].as_array().into_iter().flatten();
    reasons.filter(|one| one["kind"] == "not-known").collect()
}

fn check(profile: &Path, observation: &Path) -> Result<(i32, Value)> {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(harden::binary())
        .args(["check", "--json", "--overrides", "/nonexistent"])
        .args([profile, observation])
        .output()?;
    let text = String::from_utf8_lossy(&stderr).into_owned();
    let code = status.code().context("harden check was killed")?;
    ensure!(matches!(code, 0 | 1 | 3), "harden check: {text}");
    Ok((code, serde_json::from_slice(&stdout).context(text)?))
}

/// What the report says of a changed profile, beside that of the unchanged one.
fn predicted((status, report): &(i32, Value), own: &Value) -> Predicted {
    match status {
        0 if doubts(report).iter().all(|one| doubts(own).contains(one)) => Predicted::Allowed,
        0 | 3 => Predicted::Doubted,
        _ => Predicted::Refused,
    }
}

/// How many profiles of each daemon are tried.
fn count() -> Result<usize> {
    match env::var("HARDEN_CHECKED_PROFILES") {
        Ok(count) => count.parse().context("HARDEN_CHECKED_PROFILES"),
        Err(_) => Ok(6),
    }
}

/// Where the random numbers begin: always at the same place, so that a run which passed passes again.
fn seed(daemon: &str) -> Result<u64> {
    let first: u64 = match env::var("HARDEN_TEST_SEED") {
        Ok(seed) => seed.parse().context("HARDEN_TEST_SEED")?,
        Err(_) => 1,
    };
    // Another for each daemon.
    let letters = daemon.bytes().map(u64::from);
    Ok(letters.fold(first, |seed, one| seed.wrapping_mul(31).wrapping_add(one)))
}

/// What was found, for people; and nothing that was predicted to work may fail.
fn is_true(matrix: &Matrix) -> Result<()> {
    println!("{}", matrix.table());
    let missed = matrix.missed();
    ensure!(
        missed == 0,
        "{missed} profiles were predicted to work, and did not"
    );
    Ok(())
}

/// What the daemon found: paths that a line can hold.
fn paths(observation: &Path) -> Result<Vec<String>> {
    let observation = harden_agent::observation::read(observation)?;
    let runs = observation.runs.values();
    let programs = runs.flat_map(|run| run.executables.values());
    let paths = programs
        .flat_map(|facts| facts.files.keys())
        .map(ToString::to_string);
    let is_plain = |path: &String| {
        let mut all = path.chars();
        all.all(|one| one.is_ascii_alphanumeric() || "/._-+".contains(one))
    };
    // Over the root and the kernel's own directories nothing can be mounted.
    let is_kernel = |path: &String| {
        let mut tops = ["/proc", "/sys", "/dev", "/run"].iter();
        tops.any(|top| path.starts_with(top))
    };
    let usable = paths.filter(|path| is_plain(path) && !is_kernel(path));
    let mut paths: Vec<String> = usable.collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}
