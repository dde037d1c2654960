//! `harden run`: record a command, write its observation and profile.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{IsTerminal, stderr},
    mem::ManuallyDrop,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use harden_common::SLOTS_MAX;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    profile::{self, ProfileArgs},
    summary,
};
use crate::{
    machine::kallsyms,
    observation::{self, Join, Observation, SCHEMA, Text},
    output::{self, Content, Ours, Output, file_stem},
    probe::{Forced, ProbeError, Sizes},
    run::{Options, Progress, RunError, User, record},
};

/// `harden run`
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub struct Run {
    /// The name of the profile [default: the program's file name]
    #[arg(long)]
    pub name: Option<OsString>,
    /// Stop the command after this time: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Run the command as this user, by name or number
    #[arg(long)]
    pub user: Option<String>,
    /// Add this run to the existing observation, and write the profile for all of its runs
    #[arg(long)]
    pub append: bool,
    /// Print errors only
    #[arg(long)]
    pub quiet: bool,
    /// Print all messages as JSON on standard error, one object on each line
    #[arg(long)]
    pub json: bool,
    /// What to write, and where
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// Use this hook for a kind of fact, or none: `files=tp_btf:sys_exit`, `lookups=none`. `harden doctor`
    /// lists the hooks [default: the best one that the kernel allows]
    #[arg(long = "tier", value_name = "FACT=NAME")]
    pub tiers: Vec<Forced>,
    /// Keep task state in a hash, as kernels before 5.13 need it
    #[arg(long, hide = true)]
    pub task_hash: bool,
    /// Bytes of the ring buffer: a power of two, and at least a page
    #[arg(long, value_name = "BYTES")]
    pub ring: Option<u32>,
    /// Programs recorded at one time
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_MAX)))]
    pub slots: Option<u32>,
    /// Paths, sockets and addresses remembered as sent
    #[arg(long, value_name = "COUNT")]
    pub once: Option<u32>,
    /// Cgroups observed at one time
    #[arg(long, value_name = "COUNT")]
    pub cgroups: Option<u32>,
    /// Tasks whose state is kept, with --task-hash
    #[arg(long, hide = true, value_name = "COUNT")]
    pub tasks: Option<u32>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

impl Run {
    /// Records, decides, writes. Returns the command's exit status.
    ///
    /// # Errors
    /// Whatever stopped it; then no file was written.
    pub fn run(&self) -> anyhow::Result<u8> {
        let name = self.name();
        let file = format!("{}.observation.json", file_stem(&name));
        // As in `Render::run`, the exit frees it.
        let mut observation = ManuallyDrop::new(self.earlier(&name, &file)?);
        // Refusals of the directory or of files in it should not come after an hour of recording.
        let mut probe = self.profile.empty(&name);
        probe.retain(|output| output.name != file);
        probe.push(Output {
            name: file.clone(),
            content: Content::Bytes(Vec::new()),
            ours: Ours::Observation,
        });
        drop(output::stage(
            &self.profile.out,
            &probe,
            self.profile.force,
        )?);

        self.profile.check_overrides(&name)?;

        let options = self.options()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let live = Live::new(self);
        let show = |progress: &Progress| live.show(progress);
        let tell: Option<&dyn Fn(&Progress)> = if live.bar.is_some() {
            Some(&show)
        } else {
            None
        };
        let recording = runtime
            .block_on(record(&options, tell))
            .map_err(Self::explain)?;
        live.finish();

        if let Some(text) = kallsyms::missing(&recording.run.hooks).filter(|_| !self.quiet) {
            eprintln!("warning: {text}");
        }

        // A recording ends with its command.
        let status = recording.run.status.unwrap_or(0);
        observation.runs.insert(recording.id, recording.run);
        let recorded = Output {
            name: file,
            content: Content::Observation(&observation),
            ours: Ours::Observation,
        };
        let write = |outputs: &[Output<'_>]| {
            output::write(&self.profile.out, outputs, self.profile.force)?;
            let names = outputs.iter().map(|output| &output.name);
            let paths: Vec<PathBuf> = names.map(|name| self.profile.out.join(name)).collect();
            anyhow::Ok(paths)
        };
        let decided = self.profile.request().and_then(|request| {
            let adapted = request.adapt(&observation)?;
            let plan = request.plan(&observation, &adapted);
            let policy = plan.firejail().clone();
            let mut outputs = profile::written(plan.files());
            outputs.retain(|output| output.name != recorded.name);
            outputs.insert(0, recorded.clone());
            Ok((write(&outputs), policy))
        });
        let (paths, mut policy) = match decided {
            Ok((paths, policy)) => (paths?, policy),
            // What was recorded is not to be lost for it.
            Err(error) => {
                write(&[recorded])?;
                return Err(error.context("only the observation was written"));
            }
        };
        policy
            .warnings
            .retain(|warning| !self.profile.silence.contains(&warning.id));
        if self.json {
            eprintln!("{}", summary::json(&observation, &policy, &paths));
        } else if !self.quiet {
            eprint!("{}", summary::text(&observation, &policy, &paths));
        }
        Ok(u8::try_from(status).unwrap_or(u8::MAX))
    }

    fn name(&self) -> Text {
        let program = self.command.first().map(Path::new);
        let file = program.and_then(Path::file_name).unwrap_or_default();
        Text::from(self.name.as_deref().unwrap_or(file).as_bytes())
    }

    /// The observation to add to: what is there with `--append`, else an empty one.
    fn earlier(&self, name: &Text, file: &str) -> anyhow::Result<Observation> {
        let mut empty = Observation {
            schema: SCHEMA,
            name: name.clone(),
            runs: BTreeMap::new(),
        };
        let path = self.profile.out.join(file);
        if self.append && path.symlink_metadata().is_ok() {
            empty.join(observation::read(&path)?);
        }
        Ok(empty)
    }

    fn options(&self) -> anyhow::Result<Options> {
        let mut sizes = Sizes::default();
        sizes.ring = self.ring.unwrap_or(sizes.ring);
        sizes.slots = self.slots.unwrap_or(sizes.slots);
        sizes.once = self.once.unwrap_or(sizes.once);
        sizes.cgroups = self.cgroups.unwrap_or(sizes.cgroups);
        sizes.tasks = self.tasks.unwrap_or(sizes.tasks);
        Ok(Options {
            sizes,
            command: self.command.clone(),
            user: self.user.as_deref().map(User::find).transpose()?,
            duration: self.duration,
            tiers: self.tiers.clone(),
            task_hash: self.task_hash,
        })
    }

    /// Adds the way out to an error of the recording.
    fn explain(error: RunError) -> anyhow::Error {
        let needs_root = matches!(error, RunError::Probe(ProbeError::Privilege(_)))
            && !nix::unistd::geteuid().is_root();
        let error = anyhow::Error::from(error);
        if !needs_root {
            return error;
        }
        let words = std::env::args_os().map(|word| {
            shlex::bytes::try_quote(word.as_bytes())
                .map(|quoted| String::from_utf8_lossy(&quoted).into_owned())
                .unwrap_or_default()
        });
        let command = words.collect::<Vec<_>>().join(" ");
        let user = nix::unistd::User::from_uid(nix::unistd::getuid())
            .ok()
            .flatten();
        let user = user.map_or_else(String::new, |user| {
            format!(
                " (with --user {} for the command to keep your rights)",
                user.name
            )
        });
        error.context(format!("recording needs root: sudo {command}{user}"))
    }
}

/// The exit status for an error of `run`.
#[must_use]
pub fn failure_status(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<RunError>() {
        Some(RunError::Command { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            127
        }
        Some(RunError::Command { .. }) => 126,
        _ => 125,
    }
}

/// The line that tells how far the recording is.
struct Live {
    bar: Option<ProgressBar>,
}

impl Live {
    fn new(run: &Run) -> Self {
        let wanted = !run.quiet && !run.json && stderr().is_terminal();
        let bar = wanted.then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        Self { bar }
    }

    fn show(&self, progress: &Progress) {
        let Some(bar) = &self.bar else { return };
        let totals = progress.totals;
        let following = if progress.command_ended {
            " (the command has ended; following what it left running, Ctrl-C ends it)"
        } else {
            ""
        };
        bar.set_message(format!(
            "{} calls, {} capabilities, {} paths, {} families in {} programs; last new fact {} s ago{following}",
            totals.calls,
            totals.capabilities,
            totals.paths,
            totals.families,
            totals.programs,
            progress.quiet.as_secs(),
        ));
        bar.tick();
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
