//! `harden agent`: observe every unit of the system.

use std::path::PathBuf;

use clap::Args;

use crate::agent::{Config, init_log, observe, unload};

/// `harden agent`
#[derive(Debug, Args)]
pub struct Agent {
    /// The configuration file [default: /etc/harden/harden.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Unload the programs that an agent left recording in the kernel, and exit
    #[arg(long)]
    pub unload: bool,
}

impl Agent {
    /// Observes until SIGTERM.
    ///
    /// # Errors
    /// The configuration is wrong, nothing can be recorded, or what was recorded cannot be kept.
    pub fn run(&self) -> anyhow::Result<()> {
        let config = Config::read(self.config.as_deref())?;
        if self.unload {
            let text = if unload(&config)? {
                "the kernel side is removed; nothing is recorded any more"
            } else {
                "no kernel side was there"
            };
            println!("{text}");
            return Ok(());
        }
        init_log(config.log.level, config.kernel.log_level)?;
        observe(config)
    }
}
