//! What harden writes for a unit of a [`Machine`], and what systemd makes of it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{Agent, Machine, Scratch};

/// The files for what an agent has seen of a unit.
#[derive(Clone, Debug)]
pub struct Written {
    /// What was seen.
    pub observation: String,
    /// The drop-in with what systemd refuses.
    pub drop_in: String,
    /// The profile.
    pub profile: String,
    /// The drop-in that starts the unit under Firejail; what harden said where there is none.
    pub edit: Result<String, String>,
}

impl Written {
    /// Has the files written.
    ///
    /// # Errors
    /// They are not.
    pub fn of(agent: &Agent, machine: &Machine, unit: &str) -> Result<Self> {
        let out = Scratch::new(Path::new("/run"))?;
        let files = out.path().join("unit");
        let cat = machine.run(&["systemctl", "cat", "--no-pager", unit])?;
        fs::write(&files, cat)?;
        let path = |path: &Path| path.to_str().context("a path in UTF-8").map(str::to_owned);
        let output = agent.harden(&[
            "snapshot",
            "--format",
            "observation,firejail,systemd,service",
            "--unit-file",
            &path(&files)?,
            "--out",
            &path(out.path())?,
            &machine.key(unit),
        ])?;
        ensure!(output.status.success(), "{output:?}");
        let read = |ending: &str| ending_in(out.path(), ending);
        let observation = read(".observation.json")?.context("no observation")?;
        order_decides_nothing(agent, &observation)?;
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Self {
            drop_in: read(".drop-in.conf")?.context("no drop-in")?,
            profile: read(".profile")?.context("no profile")?,
            edit: read(".firejail.conf")?.ok_or_else(said),
            observation,
        })
    }

    /// Where the edited unit wants the profile.
    ///
    /// # Errors
    /// There is no such drop-in, or none that names it.
    pub fn profile_path(&self) -> Result<&str> {
        let edit = self.edit.as_deref();
        let edit = edit.map_err(|said| anyhow::anyhow!("{said}"))?;
        let mut words = edit.split_whitespace();
        let path = words.find_map(|word| word.strip_prefix("--profile="));
        path.context("no profile in the drop-in")
    }
}

/// The file in `directory` whose name ends so.
fn ending_in(directory: &Path, ending: &str) -> Result<Option<String>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ending) {
            return Ok(Some(fs::read_to_string(path)?));
        }
    }
    Ok(None)
}

/// The same is written whichever run comes first: their identifiers are mostly random.
fn order_decides_nothing(agent: &Agent, observation: &str) -> Result<()> {
    let mut value: Value = serde_json::from_str(observation)?;
    let forth = rendered(agent, &value)?;
    let runs = value["runs"].as_object_mut().context("no runs")?;
    let backwards: Vec<Value> = runs.values().rev().cloned().collect();
    runs.values_mut()
        .zip(backwards)
        .for_each(|(run, other)| *run = other);
    let back = rendered(agent, &value)?;
    for (forth, back) in forth.iter().zip(&back) {
        let differ: Vec<_> = forth
            .lines()
            .zip(back.lines())
            .filter(|(one, other)| one != other)
            .collect();
        ensure!(
            differ.is_empty() && forth.lines().count() == back.lines().count(),
            "the order of the runs decides: {differ:#?}"
        );
    }
    Ok(())
}

/// The profile and the drop-in for an observation.
fn rendered(agent: &Agent, observation: &Value) -> Result<[String; 2]> {
    let scratch = Scratch::new(Path::new("/run"))?;
    let path = |name: &str| {
        let path = scratch.path().join(name);
        path.to_str().context("a path in UTF-8").map(str::to_owned)
    };
    let (file, out) = (path("observation.json")?, path("out")?);
    fs::write(&file, serde_json::to_string(observation)?)?;
    fs::create_dir(&out)?;
    agent.say(&[
        "render",
        "--format",
        "firejail,systemd",
        "--out",
        &out,
        &file,
    ])?;
    let out = Path::new(&out);
    Ok([
        ending_in(out, ".profile")?.context("no profile")?,
        ending_in(out, ".drop-in.conf")?.context("no drop-in")?,
    ])
}

/// The overall exposure of a unit, of 10, as systemd reckons.
///
/// # Errors
/// It does not.
pub fn exposure(machine: &Machine, unit: &str) -> Result<f64> {
    let text = machine.run(&["systemd-analyze", "security", "--no-pager", unit])?;
    let line = text.lines().find(|line| line.contains("Overall exposure"));
    let word = line.and_then(|line| line.split_whitespace().find_map(|word| word.parse().ok()));
    word.with_context(|| format!("no overall exposure:\n{text}"))
}
