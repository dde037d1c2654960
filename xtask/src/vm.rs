//! Suites on other kernels, each kernel in a virtual machine; and `cargo xtask vm`, all suites on all kernels.

mod apt;
mod cpio;
mod debian;
mod digest;
mod emulator;
mod foreign;
mod guest;
mod job;
mod kernel;
mod payload;
mod qemu;
mod results;
mod small;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use self::{
    emulator::QEMU,
    foreign::Foreign,
    guest::GUESTS,
    kernel::{KERNELS, Kernel},
};
pub use self::{
    guest::{Guest, Wanted},
    job::{Job, Outcome, Runner, at_once, run_all},
};
use crate::{
    build,
    setup::{self, Scope},
    suites::Program,
    test::{self, Times},
    workspace::Profile,
};

/// Every kernel, where one may be named.
const ALL: &str = "all";

/// Talks to what the agent listens on; Debian 12 has none.
const VARLINKCTL: Foreign = Foreign {
    name: "varlinkctl",
    package: "systemd",
    libraries: "systemd",
};

/// Arguments of `cargo xtask vm`.
#[derive(clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are switches of the command line"
)]
pub struct Args {
    /// The kernel: 5.10, 6.1, 6.12, newest (that of Debian unstable) or all
    #[arg(long, default_value = "all")]
    kernel: String,
    /// Run no suite: ask `harden doctor` on each kernel, and write the tables of docs/kernels.md
    #[arg(long)]
    doctor: bool,
    /// Run only what `cargo xtask test` runs in virtual machines
    #[arg(long, conflicts_with = "doctor")]
    tests: bool,
    /// Do nothing if docs/kernels.md has the digest of the kernel side as it is now
    #[arg(long)]
    if_changed: bool,
    /// A root shell in the Debian image instead of the suites
    #[arg(long, conflicts_with_all = ["doctor", "if_changed"])]
    shell: bool,
}

/// What the suites of a run are told.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Only tests whose names contain this.
    pub filter: String,
    /// The fraction of the work, if not that which is usual.
    pub scale: Option<f64>,
    /// What the suites print is shown.
    pub show: bool,
}

impl Settings {
    /// After so many seconds a suite hangs.
    fn seconds(&self, guest: &Guest) -> u64 {
        guest.seconds * if self.scale.is_some() { 8 } else { 1 }
    }
}

/// `cargo xtask vm`
pub fn main(args: &Args) -> Result<()> {
    if args.if_changed && digest::is_documented()? {
        println!(
            "vm: the kernel side is the one that docs/kernels.md was made from: nothing to do"
        );
        return Ok(());
    }
    let times = Times::new();
    let kernels = select(&args.kernel)?;
    test::forget_skipped()?;
    // Of what is tested now: somebody may go on working meanwhile.
    let sources = digest::text()?;
    let toolchain = times.measure("set-up", || setup::provide(Scope::Tests))?;
    times.measure("downloads and images", fetch)?;
    let harden = times.measure("build", || build::build(&toolchain, Profile::Dev))?;
    let program = times.measure("build of the suites", Program::build)?;
    let runner = Runner::new(&program, &harden, Settings::default(), &times)?;
    if args.shell {
        return runner.shell(kernels[0]);
    }
    let wanted = match (args.doctor, args.tests) {
        (true, _) => Wanted::Doctor,
        (_, true) => Wanted::Tests,
        _ => Wanted::Matrix,
    };
    let outcome = run_all(&runner, &jobs(&kernels, wanted));
    let skipped = test::finish(&times, outcome.tally, &outcome.failed)?;
    times.save()?;
    // What a part of the kernels says is no matrix.
    if kernels.len() == KERNELS.len() && !args.tests {
        table::update()?;
        if matches!(wanted, Wanted::Matrix) && skipped == 0 && digest::document(&sources)? {
            println!(
                "vm: docs/kernels.md has changed: commit it, or the next run has to do all of this again"
            );
        }
    }
    Ok(())
}

/// The boots that these kernels need for what is wanted, those that take longest first, so that in the end nobody waits
/// for one alone.
fn jobs(kernels: &[&'static Kernel], wanted: Wanted) -> Vec<Job> {
    let boots = kernels.iter().flat_map(|kernel| {
        let boots = guest::boots(kernel.name, wanted);
        boots.into_iter().map(|boot| Job::new(kernel, boot))
    });
    let mut jobs: Vec<_> = boots.collect();
    job::longest_first(&mut jobs);
    jobs
}

/// The boots of `cargo xtask test`.
pub fn jobs_of_tests() -> Vec<Job> {
    let all: Vec<_> = KERNELS.iter().collect();
    jobs(&all, Wanted::Tests)
}

/// Fetches the emulator, unless there is one.
pub fn fetch_emulator() -> Result<()> {
    QEMU.fetch()
}

/// The boot that a suite needs on a kernel; where none is named, on the newest that it runs on.
pub fn job_of_suite(name: &str, kernel: Option<&str>) -> Result<Job> {
    let on: Vec<&str> = guests(name)
        .flat_map(|guest| guest.kernels)
        .copied()
        .collect();
    ensure!(
        !on.is_empty(),
        "the suite `{name}` runs in no virtual machine, but on this machine: leave out --kernel"
    );
    let kernel = match kernel {
        Some(kernel) => kernel,
        None => on[on.len() - 1],
    };
    ensure!(kernel != ALL, "one kernel, please: {}", on.join(", "));
    let kernels = select(kernel)?;
    let mut jobs = jobs(&kernels, Wanted::Suite(name));
    jobs.pop().with_context(|| {
        format!(
            "the suite `{name}` does not run on {kernel}, but on {}",
            on.join(", ")
        )
    })
}

/// Where a suite runs.
pub fn guests(name: &str) -> impl Iterator<Item = &'static Guest> {
    GUESTS.iter().filter(move |guest| guest.name == name)
}

/// The suites that run in guests.
#[cfg(test)]
pub fn guest_names() -> impl Iterator<Item = &'static str> {
    GUESTS.iter().map(|guest| guest.name)
}

/// What [`fetch`] has to do, a line each.
pub fn to_fetch() -> Result<Vec<String>> {
    let kernels = KERNELS.iter().filter(|kernel| !kernel.is_here());
    let mut lines: Vec<_> = kernels
        .map(|kernel| {
            format!(
                "fetch the kernel of Debian {} into target/vm",
                kernel.release
            )
        })
        .collect();
    let programs = [&QEMU, &VARLINKCTL].into_iter();
    lines.extend(
        programs
            .filter(|program| !program.is_here())
            .map(|program| format!("unpack Debian's {} into target/vm", program.name)),
    );
    if !debian::image_file(&debian::USUAL)?.is_file() {
        lines.push("make a root file system of Debian in target/vm, as root".to_owned());
    }
    Ok(lines)
}

/// The root file system of the Debian image, in a file; made unless it is there.
pub fn image() -> Result<PathBuf> {
    debian::usual()
}

/// The same with more daemons in it.
pub fn large_image() -> Result<PathBuf> {
    debian::image(&debian::LARGE)
}

/// An executable `varlinkctl`.
pub fn varlinkctl() -> Result<PathBuf> {
    VARLINKCTL.fetch()?;
    VARLINKCTL.script()
}

/// Fetches and makes what virtual machines need, once; the runs need no network.
pub fn fetch() -> Result<()> {
    for kernel in KERNELS {
        kernel.fetch()?;
    }
    QEMU.fetch()?;
    VARLINKCTL.fetch()?;
    debian::usual()?;
    Ok(())
}

fn select(name: &str) -> Result<Vec<&'static Kernel>> {
    let wanted = |kernel: &&Kernel| name == ALL || name == kernel.name;
    let kernels: Vec<_> = KERNELS.iter().filter(wanted).collect();
    if kernels.is_empty() {
        let names: Vec<_> = KERNELS.iter().map(|kernel| kernel.name).collect();
        bail!(
            "no kernel `{name}`: there are {}, and all",
            names.join(", ")
        );
    }
    Ok(kernels)
}
