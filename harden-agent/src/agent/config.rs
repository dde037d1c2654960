//! `harden.toml`: what the agent is told. `deploy/harden.toml` documents every option.
//!
//! Every option has a default, so that an empty file, or none, is a whole configuration. What is in the
//! file and cannot be meant is refused with its place, never passed over: a misspelt `exclude` would
//! observe what was to be left alone.

mod error;
mod value;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use glob::{MatchOptions, Pattern};
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

pub use self::error::ConfigError;
use crate::probe::{Forced, Share, Sizes};

/// Where the configuration is looked for if nobody names another place.
pub const DEFAULT_PATH: &str = "/etc/harden/harden.toml";

/// The unit of the agent, which never observes itself.
pub const OWN_UNIT: &str = "harden.service";

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which units are observed.
    pub units: Units,
    /// What is kept, and where.
    pub state: State,
    /// Where runs begin and end.
    pub runs: Runs,
    /// The programs in the kernel.
    pub kernel: Kernel,
    /// The socket that the other commands talk to.
    pub control: Control,
    /// Figures about the agent itself.
    pub metrics: Metrics,
    /// What the agent says.
    pub log: Log,
}

/// `[units]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Units {
    /// Patterns of the names that are observed.
    #[serde(deserialize_with = "value::patterns")]
    pub include: Vec<Pattern>,
    /// Patterns of the names that are not; they win.
    #[serde(deserialize_with = "value::patterns")]
    pub exclude: Vec<Pattern>,
}

/// `[state]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// The directory of the observations and the journal.
    #[serde(deserialize_with = "value::absolute")]
    pub directory: PathBuf,
    /// How long the journal grows until it is folded into the observations.
    #[serde(deserialize_with = "value::duration")]
    pub compact_every: Duration,
    /// Invocations of a unit that are kept apart; older ones are folded into one.
    #[serde(deserialize_with = "value::at_least_one")]
    pub keep_invocations: u32,
    /// Windows of an invocation that are kept apart; older ones are folded into one.
    #[serde(deserialize_with = "value::at_least_one")]
    pub keep_windows: u32,
    /// The most bytes that the observation of one unit takes on disk.
    #[serde(deserialize_with = "value::unit_bytes")]
    pub max_per_unit: u64,
    /// The most bytes that all of them take.
    #[serde(deserialize_with = "value::all_bytes")]
    pub max_total: u64,
    /// So many units have records of their own.
    #[serde(deserialize_with = "value::units")]
    pub max_units: u32,
}

/// `[runs]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runs {
    /// How long a window of a long-lived unit lasts; none: it is not cut.
    #[serde(deserialize_with = "value::duration_or_none")]
    pub window: Option<Duration>,
}

/// `[kernel]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kernel {
    /// The directory, in a BPF file system, that keeps programs and maps while no agent runs; none: they
    /// go with the agent.
    #[serde(deserialize_with = "value::absolute_or_none")]
    pub pin: Option<PathBuf>,
    /// Programs told apart at once, over all units: [`Sizes::slots`].
    #[serde(deserialize_with = "value::slots")]
    pub slots: u32,
    /// Cgroups observed at once: [`Sizes::cgroups`].
    #[serde(deserialize_with = "value::entries")]
    pub cgroups: u32,
    /// Paths and addresses remembered as sent: [`Sizes::once`].
    #[serde(deserialize_with = "value::entries")]
    pub once: u32,
    /// Bytes of the ring buffer: [`Sizes::ring`].
    #[serde(deserialize_with = "value::ring")]
    pub ring: u32,
    /// Tasks whose state is kept where the kernel has no task storage: [`Sizes::tasks`].
    #[serde(deserialize_with = "value::entries")]
    pub tasks: u32,
    /// Paths and addresses that the programs of a unit, or of a user, may send at once: [`Share::at_once`].
    #[serde(deserialize_with = "value::entries")]
    pub paths_at_once: u32,
    /// And then each second: [`Share::per_second`].
    #[serde(deserialize_with = "value::entries")]
    pub paths_per_second: u32,
    /// Hooks to take instead of the best.
    #[serde(deserialize_with = "value::tiers")]
    pub tiers: Vec<Forced>,
    /// What the programs in the kernel say.
    pub log_level: Level,
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// The socket.
    #[serde(deserialize_with = "value::socket")]
    pub socket: PathBuf,
    /// Connections at once; more are turned away.
    #[serde(deserialize_with = "value::connections")]
    pub connections: u32,
}

/// `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where figures can be fetched in Prometheus' text format; none: nowhere.
    #[serde(deserialize_with = "value::listen")]
    pub listen: Option<Listen>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important that is said; the environment variable `RUST_LOG` wins.
    pub level: Level,
}

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// And what may lead to a failure or a loss.
    Warn,
    /// And what an operator may want to know.
    Info,
    /// And what helps to find a fault.
    Debug,
    /// And everything else.
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// An address that this machine alone can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket.
    Unix(PathBuf),
    /// A port of the loopback interface.
    Tcp(SocketAddr),
}

impl Default for Units {
    fn default() -> Self {
        Self {
            include: Pattern::new("*").into_iter().collect(),
            exclude: Vec::new(),
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/harden"),
            compact_every: Duration::from_mins(5),
            keep_invocations: 200,
            keep_windows: 24,
            // nginx takes about 40 KiB for each invocation; it is read and written whole at times, in memory.
            max_per_unit: 16 << 20,
            max_total: 1 << 30,
            max_units: 4096,
        }
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            window: Some(Duration::from_hours(1)),
        }
    }
}

impl Default for Kernel {
    fn default() -> Self {
        let sizes = Sizes::default();
        Self {
            pin: Some(PathBuf::from("/sys/fs/bpf/harden")),
            slots: sizes.slots,
            cgroups: sizes.cgroups,
            once: sizes.once,
            // Each byte counts twice in what the agent takes, and it goes on for weeks.
            ring: 2 << 20,
            tasks: sizes.tasks,
            // A program that goes through a large tree once stays below that, and what one sends for ever costs
            // the agent a few hundredths of a processor.
            paths_at_once: 32_768,
            paths_per_second: 1000,
            tiers: Vec::new(),
            log_level: Level::Off,
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/harden/io.harden.Agent"),
            connections: 64,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info }
    }
}

impl Config {
    /// The configuration in `path`, which has to be there; without a path the one in [`DEFAULT_PATH`],
    /// which need not.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read or says what cannot be meant.
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        match fs::read(file) {
            Ok(bytes) => Self::parse(file, &bytes),
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(ConfigError::unreadable(file, &error)),
        }
    }

    fn parse(file: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let text = str::from_utf8(bytes).map_err(|error| ConfigError::encoding(file, error))?;
        let parsed = toml::Deserializer::parse(text)
            .map_err(|error| ConfigError::new(file, text, "", &error))?;
        serde_path_to_error::deserialize(parsed)
            .map_err(|error| ConfigError::new(file, text, &error.path().to_string(), error.inner()))
    }
}

impl Units {
    /// Is the unit of this name observed?
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        // As the shell matches words, but that a unit's name is no path: `*` takes in a leading dot.
        const OPTIONS: MatchOptions = MatchOptions {
            case_sensitive: true,
            require_literal_separator: false,
            require_literal_leading_dot: false,
        };
        let any = |patterns: &[Pattern]| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| pattern.matches_with(name, OPTIONS))
        };
        name != OWN_UNIT && any(&self.include) && !any(&self.exclude)
    }
}

impl Kernel {
    /// The sizes of the maps.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            slots: self.slots,
            cgroups: self.cgroups,
            // The agent looks after those that are gone once a second.
            cgroup_paths: self.cgroups.saturating_mul(2),
            once: self.once,
            ring: self.ring,
            // It would be a number of those slots alone that are in use.
            counted_slots: 0,
            tasks: self.tasks,
            share: Some(Share {
                at_once: self.paths_at_once,
                per_second: self.paths_per_second,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
