//! Work that ends by itself: recorded, enforced, and enforced with one thing less.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{Process, Profile, Scratch, harden, harden::Recorded};

/// Nothing here takes a tenth of this, but on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(1);

/// What Firejail prints when the sandbox stands and only the program is left to start. A mutated
/// profile that it refuses would fail any work, and show nothing.
const STANDS: &str = "Child process initialized";

/// A command, and the state that it works on.
pub struct Work<'a> {
    /// The name of its profile.
    pub name: &'a str,
    /// Who does it; root, where nobody is named.
    pub user: Option<&'a str>,
    /// The command line.
    pub command: Vec<String>,
    /// Makes the state as it was before the first time.
    pub reset: &'a dyn Fn() -> Result<()>,
    /// What the work came to. It is done again if this is the same again.
    pub result: &'a dyn Fn() -> Result<Vec<u8>>,
}

/// Work that was recorded.
pub struct Known<'a> {
    work: Work<'a>,
    expected: Vec<u8>,
    /// What was recorded of it.
    pub recorded: Recorded,
}

impl<'a> Work<'a> {
    /// Does it under observation.
    ///
    /// # Errors
    /// It failed, or there is no recording of it.
    pub fn record(self) -> Result<Known<'a>> {
        (self.reset)()?;
        let mut options = Vec::new();
        if let Some(user) = self.user {
            options.extend(["--user", user]);
        }
        let recorded = harden::record(self.name, &options, &self.command)?;
        ensure!(
            recorded.status == 0,
            "{:?} failed when recorded\n{}",
            self.command,
            recorded.output
        );
        let expected = (self.result)().with_context(|| recorded.output.clone())?;
        Ok(Known {
            work: self,
            expected,
            recorded,
        })
    }
}

impl Known<'_> {
    /// The profile that was written.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.recorded.profile
    }

    /// The same work passes under the profile.
    ///
    /// # Errors
    /// It does not.
    pub fn passes(&self) -> Result<()> {
        self.under(self.profile(), &[])?
            .with_context(|| format!("{} fails under its own profile", self.work.name))
    }

    /// The same work fails where `directive` lacks `item`.
    ///
    /// # Errors
    /// It passes.
    pub fn needs(&self, directive: &str, item: &str) -> Result<()> {
        self.fails(&self.profile().without(directive, item))
            .with_context(|| format!("without {item} in {directive}"))
    }

    /// The same work fails under `profile`.
    ///
    /// # Errors
    /// It passes.
    pub fn fails(&self, profile: &Profile) -> Result<()> {
        self.refused(profile, &[])
    }

    /// With further arguments it fails under its profile: what they ask for was never seen.
    ///
    /// # Errors
    /// It passes.
    pub fn fails_with(&self, arguments: &[&str]) -> Result<()> {
        self.refused(self.profile(), arguments)
    }

    fn refused(&self, profile: &Profile, arguments: &[&str]) -> Result<()> {
        match self.under(profile, arguments)? {
            Ok(()) => bail!("{} passes all the same", self.work.name),
            Err(_) => Ok(()),
        }
    }

    /// Does the work once more. The outer error: nothing can be said. The inner one: it failed.
    fn under(&self, profile: &Profile, arguments: &[&str]) -> Result<Result<()>> {
        (self.work.reset)()?;
        let dir = Scratch::new(Path::new("/run"))?;
        let file = dir.path().join("under-test.profile");
        profile.write(&file)?;
        let mut firejail = match self.work.user {
            None => Command::new("firejail"),
            Some(user) => {
                let mut runuser = Command::new("runuser");
                runuser.args(["-u", user, "--", "firejail"]);
                runuser
            }
        };
        firejail.arg(format!("--profile={}", file.display()));
        if !profile.starts_directly() {
            firejail.arg("--");
        }
        firejail.args(&self.work.command).args(arguments);
        let mut process = Process::start(&mut firejail)?.patience(PATIENCE);
        let status = process.wait().with_context(|| process.output())?;
        let output = process.output();
        ensure!(output.contains(STANDS), "there was no sandbox\n{output}");
        Ok(if !status.success() {
            Err(anyhow::anyhow!("{status}\n{output}"))
        } else if (self.work.result)().ok().as_deref() == Some(self.expected.as_slice()) {
            Ok(())
        } else {
            Err(anyhow::anyhow!("the result is another\n{output}"))
        })
    }
}
