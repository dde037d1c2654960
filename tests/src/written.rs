//! What harden writes for a unit of a [`Machine`], and what systemd makes of it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::{Agent, Machine, Scratch};

/// The files for what an agent has seen of a unit.
#[derive(Clone, Debug)]
pub struct Written {
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
            "firejail,systemd,service",
            "--unit-file",
            &path(&files)?,
            "--out",
            &path(out.path())?,
            &machine.key(unit),
        ])?;
        ensure!(output.status.success(), "{output:?}");
        let read = |ending: &str| -> Result<Option<String>> {
            for entry in fs::read_dir(out.path())? {
                let path = entry?.path();
                if path.to_string_lossy().ends_with(ending) {
                    return Ok(Some(fs::read_to_string(path)?));
                }
            }
            Ok(None)
        };
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Self {
            drop_in: read(".drop-in.conf")?.context("no drop-in")?,
            profile: read(".profile")?.context("no profile")?,
            edit: read(".firejail.conf")?.ok_or_else(said),
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
