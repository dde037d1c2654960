//! Measures what observing costs, beside what other tools cost, and writes the figures as a part of a page.
//! `cargo xtask bench` runs it, as root: `harden-bench PAGE [--quick]`.

mod condition;
mod effort;
mod held;
mod machine;
mod matrix;
mod page;
mod place;
mod profile;
mod server;
mod startup;
mod statistics;
mod upkeep;
mod verdict;
mod workload;

use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use self::{effort::Effort, machine::Machine, matrix::Matrix, place::Place};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (page, effort) = match words[..] {
        [page] => (page, Effort::whole()),
        [page, "--quick"] => (page, Effort::quick()),
        _ => bail!("harden-bench PAGE [--quick]"),
    };
    let mut machine = Machine::look();
    let place = Place::new(&effort)?;
    let matrix = Matrix::measure(&place, &effort);
    let startup = startup::measure(&place, &effort);
    let profile = profile::measure(&place, &effort).context("the programs' own account");
    let upkeep = upkeep::measure(&place, &effort).context("the agent's processor time and memory");
    machine.look_again();
    let text = page::text(&machine, &effort, &matrix, &startup, &profile, &upkeep);
    fs::write(page, text).with_context(|| page.to_owned())
}
