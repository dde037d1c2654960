//! `harden snapshot`: files of what the agent has recorded so far.
//!
//! The agent sends observations; everything else happens here, with the rights of who asks.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Write,
    panic,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread::{self, ScopedJoinHandle},
};

use anyhow::Context;
use clap::Args;

use super::{
    ask::{self, Ask},
    profile::{self, ProfileArgs},
};
use crate::{
    machine::disks::Disks,
    observation::{self, Observation, Text},
    output::{self, Content, Ours, Output, file_stem},
    policy::{Id, Warning},
    profile::Request,
};

/// `harden snapshot`
#[derive(Debug, Args)]
pub struct Snapshot {
    /// The units, as `harden units` lists them
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "UNIT"
    )]
    pub units: Vec<OsString>,
    /// Take a snapshot of every unit
    #[arg(long)]
    pub all: bool,
    /// Print JSON, one object
    #[arg(long)]
    pub json: bool,
    /// What to write, and where
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

impl Snapshot {
    /// Asks, decides, writes, and prints where.
    ///
    /// # Errors
    /// No agent answers, it says no, or a file cannot be written; then none is. A unit that was named has no run: the
    /// files of the others are written.
    pub fn run(&self) -> anyhow::Result<()> {
        let (without, shots): (Vec<Shot>, Vec<Shot>) =
            self.shots()?.into_iter().partition(Shot::is_empty);
        let without: Vec<Text> = without.into_iter().map(|shot| shot.unit).collect();
        let outputs: Vec<_> = shots.iter().flat_map(|shot| shot.outputs.clone()).collect();
        output::write(&self.profile.out, &outputs, self.profile.force)?;
        let files: Vec<Text> = outputs
            .iter()
            .map(|output| self.profile.out.join(&output.name))
            .map(|file| Text::from(file.as_os_str().as_encoded_bytes()))
            .collect();
        let mut text = String::new();
        if self.json {
            let warnings: BTreeMap<String, &[Warning]> = shots
                .iter()
                .map(|shot| (shot.unit.to_string(), shot.warnings.as_slice()))
                .collect();
            let said = serde_json::json!({
                "files": files,
                "warnings": warnings,
                "without_runs": without,
            });
            writeln!(text, "{said}")?;
        } else {
            for file in &files {
                writeln!(text, "{file}")?;
            }
            for shot in &shots {
                shot.warn();
            }
        }
        ask::print(&text)?;
        match without {
            without if without.is_empty() || self.all => Ok(()),
            without => Err(NoRuns(without).into()),
        }
    }

    /// What there is of each unit, in the order of the observations. Each is worked on as it comes, by whatever processor is free: a
    /// profile is a few milliseconds of plain computing, and the agent takes as long for the next.
    fn shots(&self) -> anyhow::Result<Vec<Shot>> {
        let units: Vec<Text> = self.units.iter().map(|unit| ask::name(unit)).collect();
        let (sender, observations) = mpsc::channel();
        let observations = Mutex::new(observations);
        let processors = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let (sender, mut number) = (sender, 0);
                self.ask.each_observation(&units, |json| {
                    // Nobody takes it where a worker had an error, which is told below.
                    let _ = sender.send((number, json.to_owned()));
                    number += 1;
                })
            });
            // Meanwhile Firejail is asked what it can do.
            let request = self.request()?;
            let observations = &observations;
            let work = || {
                let request = request.clone();
                let silenced = &self.profile.silence;
                scope.spawn(move || shots(observations, request.as_ref(), silenced))
            };
            let workers: Vec<_> = (0..processors).map(|_| work()).collect();
            let mut shots = BTreeMap::new();
            for worker in workers {
                shots.extend(joined(worker)?);
            }
            joined(asking)?;
            Ok(shots.into_values().collect())
        })
    }

    /// What is asked of the formats beside the observation, if there are any.
    fn request(&self) -> anyhow::Result<Option<Request>> {
        let mut wanted = self.profile.format.iter();
        let none = wanted.all(|format| format.is_observation());
        (!none).then(|| self.profile.request()).transpose()
    }
}

/// What the thread has come to; it panics as that did.
fn joined<T>(thread: ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    let result = thread.join();
    result.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// What there is of one unit.
struct Shot {
    unit: Text,
    /// None if it has no run.
    outputs: Vec<Output<'static>>,
    warnings: Vec<Warning>,
}

impl Shot {
    fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// As `harden run` has them, and of which unit.
    fn warn(&self) {
        for Warning { id, text } in &self.warnings {
            eprintln!("warning[{id}]: {}: {text}", self.unit);
        }
    }
}

/// Units that were named have no run.
#[derive(Debug, thiserror::Error)]
#[error(
    "nothing is recorded of {}, so no file was written for it\nsee `harden units`: a silent unit has done nothing yet \
     that could be recorded",
    .0.iter().map(Text::to_string).collect::<Vec<_>>().join(", ")
)]
pub struct NoRuns(Vec<Text>);

/// What there is of the observations that are left, each by its number.
fn shots(
    observations: &Mutex<Receiver<(usize, String)>>,
    request: Option<&Request>,
    silenced: &[Id],
) -> anyhow::Result<BTreeMap<usize, Shot>> {
    let mut disks = Disks::default();
    let mut shots = BTreeMap::new();
    let next = || {
        let waiting = observations.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.recv().ok()
    };
    while let Some((number, json)) = next() {
        let mut observation = observation::from_json(json.as_bytes())
            .context("the agent's observation cannot be read; it may be of another version: sudo systemctl restart harden")?;
        let mut shot = Shot {
            unit: observation.name.clone(),
            outputs: Vec::new(),
            warnings: Vec::new(),
        };
        if has_nothing(&observation) {
            shots.insert(number, shot);
            continue;
        }
        disks.look(&mut observation);
        let mut files = vec![Output {
            name: format!("{}.observation.json", file_stem(&observation.name)),
            content: Content::Bytes(observation::to_json(&observation)?),
            ours: Ours::Observation,
        }];
        if let Some(request) = request {
            let adapted = request.adapt(&observation)?;
            let plan = request.plan(&observation, &adapted);
            let warnings = plan.firejail().warnings.iter();
            let wanted = warnings.filter(|warning| !silenced.contains(&warning.id));
            shot.warnings = wanted.cloned().collect();
            for Output {
                name,
                content,
                ours,
            } in profile::written(plan.files())
            {
                if name != files[0].name {
                    let content = Content::Bytes(content.into_bytes()?);
                    files.push(Output {
                        name,
                        content,
                        ours,
                    });
                }
            }
        }
        shot.outputs = files;
        shots.insert(number, shot);
    }
    Ok(shots)
}

/// Whether no program was seen in any run: a profile for that would refuse everything.
fn has_nothing(observation: &Observation) -> bool {
    let mut runs = observation.runs.values();
    runs.all(|run| run.executables.is_empty() && run.control.is_empty())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        path::Path,
        time::{Duration, Instant},
    };

    use clap::Parser;

    use super::*;
    use crate::{
        agent::control::{
            Limits,
            tests::{Agent, observation},
        },
        cli::Cli,
    };

    /// Runs the command. The profile is for a Firejail named here, so that none is asked.
    fn harden(agent: &Agent, out: &Path, arguments: &[&str]) -> (Cli, anyhow::Result<u8>) {
        let socket = agent.socket.to_str().unwrap();
        let out = out.to_str().unwrap();
        let common = [
            "--socket",
            socket,
            "--out",
            out,
            "--firejail-version",
            "0.9.72",
        ];
        let words = ["harden", "snapshot"]
            .iter()
            .chain(arguments)
            .chain(&common);
        let cli = Cli::try_parse_from(words).unwrap();
        let result = cli.run();
        (cli, result)
    }

    fn files(directory: &Path) -> BTreeSet<String> {
        std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_snapshot_is_what_run_and_render_would_write() {
        let agent = Agent::start(Limits::default());
        let directory = tempfile::tempdir().unwrap();
        harden(&agent, directory.path(), &["nginx.service"])
            .1
            .unwrap();
        let expected = ["nginx.service.observation.json", "nginx.service.profile"];
        assert_eq!(files(directory.path()), expected.map(str::to_owned).into());
        // What this machine's own disk has to say of the names is added.
        let bare = |mut observation: Observation| {
            for run in observation.runs.values_mut() {
                run.symlinks.clear();
                for executable in run.executables.values_mut() {
                    executable.interpreters.clear();
                }
            }
            observation
        };
        let written = observation::read(&directory.path().join(expected[0])).unwrap();
        assert_eq!(bare(written), bare(observation("nginx.service")));

        // And the profile of each is its own: every unit has its name in it.
        harden(&agent, directory.path(), &["--all"]).1.unwrap();
        assert_eq!(files(directory.path()).len(), 6);
        let profile =
            std::fs::read_to_string(directory.path().join("cron.service.profile")).unwrap();
        assert!(profile.contains("cron.service"), "{profile}");
        let directory = tempfile::tempdir().unwrap();
        harden(
            &agent,
            directory.path(),
            &["--all", "--format", "observation"],
        )
        .1
        .unwrap();
        assert!(
            files(directory.path())
                .iter()
                .all(|name| name.ends_with(".observation.json"))
        );
    }

    #[test]
    fn one_unit_that_is_not_known_leaves_no_file() {
        let agent = Agent::start(Limits::default());
        let directory = tempfile::tempdir().unwrap();
        let (cli, result) = harden(&agent, directory.path(), &["cron.service", "ngnix.service"]);
        let error = result.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no unit ngnix.service was seen; is it nginx.service?"
        );
        assert_eq!(cli.failure_status(&error), 5);
        assert!(files(directory.path()).is_empty());
    }

    #[test]
    fn a_unit_without_runs_gets_no_file_and_the_others_theirs() {
        let mut silent = observation("silent.service");
        silent.runs.clear();
        let agent = Agent::with(
            Limits::default(),
            vec![observation("cron.service"), silent],
            None,
        );
        let directory = tempfile::tempdir().unwrap();
        let units = ["cron.service", "silent.service"];
        let (cli, result) = harden(&agent, directory.path(), &units);
        let error = result.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("nothing is recorded of silent.service, so"),
            "{error}"
        );
        assert_eq!(cli.failure_status(&error), 7);
        let expected = ["cron.service.observation.json", "cron.service.profile"];
        assert_eq!(files(directory.path()), expected.map(str::to_owned).into());
        // Who asks for all of them asks for those that there are.
        harden(&agent, directory.path(), &["--all"]).1.unwrap();
        assert_eq!(files(directory.path()), expected.map(str::to_owned).into());
    }

    #[test]
    fn either_units_or_all() {
        for arguments in [
            &["harden", "snapshot"][..],
            &["harden", "snapshot", "a.service", "--all"],
        ] {
            assert!(Cli::try_parse_from(arguments).is_err());
        }
    }

    /// A guard against what grows with the square, in a release build: the time of the processors,
    /// of the agent and of the command together, so that other work on the machine matters little.
    #[test]
    fn a_hundred_units_are_a_matter_of_a_moment() {
        let units = (0..100).map(|number| large(&format!("unit-{number}.service")));
        let agent = Agent::with(Limits::default(), units.collect(), None);
        let directory = tempfile::tempdir().unwrap();
        let (begun, computed) = (Instant::now(), processors());
        harden(&agent, directory.path(), &["--all"]).1.unwrap();
        let (took, computed) = (begun.elapsed(), processors().saturating_sub(computed));
        eprintln!("100 units: {took:?}, {computed:?} of processors");
        assert_eq!(files(directory.path()).len(), 200);
        assert!(
            cfg!(debug_assertions) || computed.as_millis() < 1_000,
            "{computed:?}"
        );
    }

    fn processors() -> Duration {
        let clock = nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID;
        nix::time::clock_gettime(clock).unwrap().into()
    }

    /// As much as a daemon of some size does: 250 files of its own, and a run.
    fn large(name: &str) -> Observation {
        let mut observation = observation(name);
        for run in observation.runs.values_mut() {
            for executable in run.executables.values_mut() {
                let Some(file) = executable.files.values().next().cloned() else {
                    continue;
                };
                for number in 0..250 {
                    let path = format!("/usr/share/{name}/part-{}/file-{number}", number % 10);
                    executable
                        .files
                        .insert(path.as_bytes().into(), file.clone());
                }
            }
        }
        observation
    }
}
