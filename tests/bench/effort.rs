//! How much is measured.

/// How much is measured.
pub struct Effort {
    /// As a reader is told.
    pub name: &'static str,
    /// How often each workload is measured under each condition, with everything started afresh.
    pub repetitions: usize,
    /// How often it is measured each time.
    pub rounds: usize,
    /// How long a call is repeated in a round.
    pub milliseconds: u32,
    /// Files that are opened in a round.
    pub files: usize,
    /// How long the web server is loaded.
    pub load_seconds: u32,
    /// How long the agent is watched, at rest and beside calls.
    pub watched_seconds: u32,
    /// New paths by which the agent is measured.
    pub facts: usize,
    /// Numbers of units at which the agent's memory is read.
    pub units: &'static [usize],
}

impl Effort {
    /// What the page is made of.
    pub fn whole() -> Self {
        Self {
            name: "cargo xtask bench",
            repetitions: 5,
            rounds: 3,
            milliseconds: 100,
            files: 2000,
            load_seconds: 2,
            watched_seconds: 5,
            facts: 20_000,
            units: &[10, 500, 5000],
        }
    }

    /// To see whether something has changed much.
    pub fn quick() -> Self {
        Self {
            name: "cargo xtask bench --quick",
            repetitions: 1,
            rounds: 3,
            milliseconds: 30,
            files: 1000,
            load_seconds: 1,
            watched_seconds: 2,
            facts: 5000,
            units: &[10, 500],
        }
    }
}
