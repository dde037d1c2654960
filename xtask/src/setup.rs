//! `cargo xtask setup`: provides what build and tests need. It looks, works out a plan, says it, does
//! its first step, and looks again, until nothing is left to do.

mod apt;
mod distribution;
mod needs;
mod plan;
mod toolchain;

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use self::{
    distribution::Distribution,
    plan::{Facts, Lists, Plan, Step, plan},
};
pub use self::{
    needs::Scope,
    toolchain::{Toolchain, cargo_deb, shh},
};
use crate::{process, vm, workspace};

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Also install what the tests run: Firejail, nginx, Redis, … No daemon is started
    #[arg(long)]
    tests: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// `cargo xtask setup`
pub fn main(args: &Args) -> Result<()> {
    let scope = if args.tests {
        Scope::Tests
    } else {
        Scope::Build
    };
    if args.dry_run {
        return dry_run(scope);
    }
    provide(scope)?;
    if args.tests {
        vm::fetch()?;
    }
    println!("setup: everything is there");
    Ok(())
}

/// Provides what `scope` needs and gives back the compiler for the kernel programs.
pub fn provide(scope: Scope) -> Result<Toolchain> {
    let mut machine = Machine::default();
    let mut done: Vec<Step> = Vec::new();
    let mut announced = false;
    loop {
        let (toolchain, plan) = machine.look(scope)?;
        refuse_missing(&plan)?;
        let Some(step) = plan.steps.first() else {
            for line in &plan.unavailable {
                println!("setup: not to be had here, what needs it is left out: {line}");
            }
            return toolchain
                .context("no compiler for the kernel programs, though nothing is left to install");
        };
        ensure!(
            !done.contains(step),
            "this ended well and yet what it should provide is not usable: {step}"
        );
        if !announced {
            announce(&plan);
            announced = true;
        }
        println!("setup: now: {step}");
        if machine.execute(step)? {
            done.push(step.clone());
        }
    }
}

fn dry_run(scope: Scope) -> Result<()> {
    let (_toolchain, plan) = Machine::default().look(scope)?;
    refuse_missing(&plan)?;
    announce(&plan);
    let images = match scope {
        Scope::Tests => vm::to_fetch()?,
        Scope::Build | Scope::Package | Scope::Demo | Scope::Bench => Vec::new(),
    };
    for line in &images {
        println!("setup: to do: {line}");
    }
    if plan.steps.is_empty() && images.is_empty() {
        println!("setup: everything is there");
    }
    Ok(())
}

fn announce(plan: &Plan) {
    for step in &plan.steps {
        println!("setup: to do: {step}");
    }
}

fn refuse_missing(plan: &Plan) -> Result<()> {
    if plan.missing.is_empty() {
        return Ok(());
    }
    bail!(
        "this has to be installed by hand here, then run the same command again:\n  {}",
        plan.missing.join("\n  ")
    )
}

/// What this run has learnt about the machine by trying.
#[derive(Default)]
struct Machine {
    rustup_failed: bool,
    shh_failed: bool,
    lists: Lists,
}

impl Machine {
    fn look(&self, scope: Scope) -> Result<(Option<Toolchain>, Plan)> {
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let distribution = Distribution::parse(&os_release);
        let toolchain = Toolchain::find();
        let mut facts = Facts {
            compiler_llvm: toolchain.as_ref().map(|found| found.llvm),
            linker: toolchain
                .as_ref()
                .is_some_and(|found| toolchain::linker(found.llvm).is_file()),
            cargo_deb: cargo_deb().is_file(),
            shh: self.shh_failed || shh().is_file(),
            rustup: !self.rustup_failed && process::exists("rustup"),
            installed: installed(&distribution, scope),
            offers: apt::Offers::new(),
            lists: self.lists,
            distribution,
        };
        let first = plan(&facts, scope);
        // Asking apt takes a second on some machines: only when something is to be done.
        if first == Plan::default() || facts.distribution != Distribution::Debian {
            return Ok((toolchain, first));
        }
        facts.offers = apt::offers(&packages(scope))?;
        Ok((toolchain, plan(&facts, scope)))
    }

    /// Executes a step. False when it failed and there is another way.
    fn execute(&mut self, step: &Step) -> Result<bool> {
        let (program, arguments) = step
            .argv
            .split_first()
            .context("a step without a command")?;
        let mut command = match program.as_str() {
            program if step.root => process::as_root(program),
            "cargo" => process::cargo(),
            program => Command::new(program),
        };
        let result = process::run(command.args(arguments).current_dir(workspace::root()));
        match result {
            Ok(()) => {
                if *step == plan::update_lists() {
                    self.lists = Lists::Fetched;
                }
                Ok(true)
            }
            Err(error) if step.may_fail => {
                println!("setup: {error}; trying another way");
                match program.as_str() {
                    "rustup" => self.rustup_failed = true,
                    "cargo" => self.shh_failed = true,
                    _ => self.lists = Lists::Stale,
                }
                Ok(false)
            }
            Err(error) => Err(error.context(format!(
                "could not {}; the command's own messages are above",
                step.what
            ))),
        }
    }
}

fn packages(scope: Scope) -> Vec<&'static str> {
    let needed = needs::PROGRAMS.iter().filter(|need| need.is_in(scope));
    needed.flat_map(|need| need.packages).copied().collect()
}

fn installed(distribution: &Distribution, scope: Scope) -> BTreeSet<String> {
    let packages = packages(scope);
    if packages.is_empty() {
        return BTreeSet::new();
    }
    if *distribution == Distribution::Debian {
        return apt::installed(&packages);
    }
    needs::PROGRAMS
        .iter()
        .filter(|need| need.program.is_empty() || process::exists(need.program))
        .map(|need| need.packages[0].to_owned())
        .collect()
}
