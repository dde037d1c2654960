//! Runs a suite on this machine, in a process of its own, as root.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{Program, log, threads};
use crate::{process, programs, test::Tally, vm, workspace};

/// How a run of a suite went.
#[derive(Debug)]
pub struct Outcome {
    /// Did every test pass?
    pub good: bool,
    /// What the tests say.
    pub tally: Tally,
}

/// A suite that has not ended by then hangs.
const PATIENCE: Duration = Duration::from_mins(10);

/// What runs suites on this machine.
pub struct Here {
    program: Program,
    /// The `harden` that is tested.
    harden: PathBuf,
    image: PathBuf,
    varlinkctl: PathBuf,
    package: Option<PathBuf>,
    variables: Vec<(&'static str, String)>,
    patience: Duration,
}

impl Here {
    /// Builds the suites and the programs that they run.
    pub fn build(harden: PathBuf) -> Result<Self> {
        programs::build()?;
        Ok(Self {
            program: Program::build()?,
            harden,
            image: vm::image()?,
            varlinkctl: vm::varlinkctl()?,
            package: None,
            variables: Vec::new(),
            patience: PATIENCE,
        })
    }

    /// With the package, which [`super::needs_package`].
    pub fn with_package(mut self, package: PathBuf) -> Self {
        self.package = Some(package);
        self
    }

    /// With more in the environment, and as much time as that takes.
    pub fn with(mut self, variables: &[(&'static str, String)], patience: Duration) -> Self {
        self.variables.extend_from_slice(variables);
        self.patience = patience;
        self
    }

    /// The test program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Runs the tests of a suite whose names contain `filter`. What they print goes to the suite's log, and is shown
    /// where `show` says so.
    pub fn run(&self, suite: &str, filter: &str, show: bool) -> Result<Outcome> {
        let tests = self.program.tests(suite, filter)?;
        let mut command = self.command();
        command.arg("--exact").args(&tests);
        if show {
            command.arg("--nocapture");
        }
        if let Some(threads) = threads(suite) {
            command.arg(format!("--test-threads={threads}"));
        }
        let mut tally = Tally::default();
        let good = listen(&mut command, &log(suite), |line| {
            tally.read(line);
            if show {
                println!("{line}");
            }
        })?;
        // A program that ends before its time may end well.
        let (wanted, ended) = (tests.len(), tally.ended());
        if wanted != ended {
            println!("{suite}: {ended} of {wanted} tests came to an end");
        }
        Ok(Outcome {
            good: good && wanted == ended,
            tally,
        })
    }

    /// The test program with all that its suites ask for in their environment.
    fn command(&self) -> Command {
        let mut command = process::as_root_with_environment("timeout");
        command.args(["--signal=KILL", &self.patience.as_secs().to_string()]);
        command.arg(self.program.executable());
        command.current_dir(workspace::root().join("tests"));
        command.env("HARDEN_BIN", &self.harden);
        command.env("HARDEN_TEST_PROGRAMS", workspace::test_programs());
        command.env("HARDEN_TEST_ROOT", &self.image);
        command.env("HARDEN_VARLINKCTL", &self.varlinkctl);
        command.env("HARDEN_SKIPPED", workspace::skipped());
        command.envs(self.package.iter().map(|file| ("HARDEN_PACKAGE", file)));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Runs a command, keeps its output in a file and gives each line to `read`. Did it end well?
pub fn listen(command: &mut Command, file: &Path, mut read: impl FnMut(&str)) -> Result<bool> {
    let shown = process::show(command);
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut log =
        File::create(file).with_context(|| format!("could not write {}", file.display()))?;
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("could not start: {shown}"))?;
    // The command keeps the writing ends, and the reader would wait for them for ever.
    command.stdout(Stdio::null());
    command.stderr(Stdio::null());
    for line in BufReader::new(reader).split(b'\n') {
        // A test may print what is not UTF-8.
        let line = line?;
        log.write_all(&line)?;
        log.write_all(b"\n")?;
        read(&String::from_utf8_lossy(&line));
    }
    Ok(child.wait()?.success())
}
