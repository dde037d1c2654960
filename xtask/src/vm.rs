//! `cargo xtask vm`: the suites on other kernels, each in a virtual machine.

mod apt;
mod cpio;
mod debian;
mod emulator;
mod foreign;
mod kernel;
mod payload;
mod qemu;
mod results;
mod small;
mod suite;
mod table;

use std::{
    cmp::Reverse,
    fs,
    io::{Write as _, stdout},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use self::{
    cpio::Archive,
    emulator::QEMU,
    foreign::Foreign,
    kernel::{KERNELS, Kernel, Unpacked},
    payload::Payload,
    qemu::Machine,
    results::{Heard, Results},
    suite::{Boot, Image, SUITES, Suite},
};
use crate::{
    build,
    setup::{self, Scope},
    test::Tally,
    workspace,
};

const INIT: &str = include_str!("vm/guest/init");

/// Talks to what the agent listens on; Debian 12 has none.
const VARLINKCTL: Foreign = Foreign {
    name: "varlinkctl",
    package: "systemd",
    libraries: "systemd",
};

/// A guest that is not up by then, with what `harden doctor` says, hangs.
const BOOT: Duration = Duration::from_mins(5);

/// Arguments of `cargo xtask vm`.
#[derive(clap::Args)]
pub struct Args {
    /// The kernel: 5.10, 6.1, 6.12, newest (that of Debian unstable) or all
    #[arg(long, default_value = "all")]
    kernel: String,
    /// Run this suite only; `doctor` boots the small image and keeps what `harden doctor` says
    #[arg(long, value_name = "NAME")]
    test: Option<String>,
    /// A root shell in the Debian image instead of the suites, or in the image of --test
    #[arg(long)]
    shell: bool,
    /// The fraction of their work that suites do which do less here than elsewhere; they have eight times as long
    #[arg(long, value_name = "FRACTION", requires = "test")]
    scale: Option<f64>,
    /// Arguments for the suites, such as the name of one test
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What the suites are told.
#[derive(Default)]
pub struct Told {
    /// Their arguments.
    pub arguments: String,
    /// The fraction of the work, if not that which is usual.
    pub scale: Option<f64>,
}

impl Told {
    /// After so many seconds a suite hangs.
    pub fn seconds(&self, suite: &Suite) -> u64 {
        suite.seconds * if self.scale.is_some() { 8 } else { 1 }
    }
}

/// `cargo xtask vm`
pub fn main(args: &Args) -> Result<()> {
    let kernels = select(&args.kernel)?;
    if let Some(name) = &args.test {
        let mut names = SUITES.iter().map(|suite| suite.name);
        ensure!(
            name == suite::DOCTOR || names.any(|known| known == name),
            "no suite `{name}` runs in a virtual machine: see xtask/src/vm/suite.rs"
        );
    }
    build::build(&setup::provide(Scope::Tests)?, false)?;
    QEMU.fetch()?;
    let only = args.test.as_deref();
    if args.shell {
        let kernel = kernels[0];
        let mut boots = suite::boots(kernel.name, only, true);
        let boot = boots.pop().context("no suite runs on this kernel")?;
        let machine = prepare(&Payload::build()?, kernel, &boot, &Told::default())?;
        println!("vm: `exit` ends it");
        return machine.shell();
    }
    let mut tally = Tally::default();
    let told = Told {
        arguments: args.arguments.join(" "),
        scale: args.scale,
    };
    let all: Vec<_> = kernels.iter().map(|kernel| kernel.name).collect();
    let good = suites(&kernels, only, &told, &all, &mut tally);
    if kernels.len() == KERNELS.len() {
        table::update()?;
    }
    for line in tally.skips() {
        println!("SKIPPED {line}");
    }
    println!("{tally}");
    ensure!(good?, "suites failed: see above");
    tally.refuse_skips()
}

/// Where `harden doctor` speaks among all tests: it takes minutes emulated, and between these kernels nothing is new to
/// it.
const DOCTORS: &[&str] = &["5.10", "newest"];

/// Runs all suites on all kernels, as part of all tests. Did all go well?
pub fn all(tally: &mut Tally) -> Result<bool> {
    suites(&select("all")?, None, &Told::default(), DOCTORS, tally)
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
    let wanted = |kernel: &&Kernel| name == "all" || name == kernel.name;
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

fn suites(
    kernels: &[&Kernel],
    only: Option<&str>,
    told: &Told,
    doctors: &[&str],
    tally: &mut Tally,
) -> Result<bool> {
    let payload = Payload::build()?;
    debian::usual()?;
    let mut boots: Vec<_> = kernels
        .iter()
        .flat_map(|kernel| {
            let boots = suite::boots(kernel.name, only, doctors.contains(&kernel.name));
            boots.into_iter().map(move |boot| (*kernel, boot))
        })
        .collect();
    ensure!(
        !boots.is_empty(),
        "that suite does not run on that kernel: see xtask/src/vm/suite.rs"
    );
    // What takes longest first, so that in the end nobody waits for it alone.
    boots.sort_by_key(|(_, boot)| {
        let seconds = boot.suites.iter().map(|suite| suite.seconds);
        Reverse(seconds.sum::<u64>())
    });
    let waiting = Mutex::new(boots.iter());
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    let mut failed = Vec::new();
    thread::scope(|scope| {
        let work = || {
            let (mut tally, mut failed) = (Tally::default(), Vec::new());
            while let Some((kernel, boot)) = next() {
                failed.extend(boot_once(&payload, kernel, boot, told, &mut tally));
            }
            (tally, failed)
        };
        let workers: Vec<_> = (0..qemu::at_once()).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok((counts, names)) => {
                    tally.add(counts);
                    failed.extend(names);
                }
                Err(_) => failed.push("a thread of xtask panicked: see above".to_owned()),
            }
        }
    });
    for line in &failed {
        println!("FAILED {line}");
    }
    Ok(failed.is_empty())
}

/// Runs the suites of one boot. Returns what failed.
fn boot_once(
    payload: &Payload,
    kernel: &Kernel,
    boot: &Boot,
    told: &Told,
    tally: &mut Tally,
) -> Vec<String> {
    let place = place(kernel, boot);
    // The next boot is worth trying when this one does not even come up.
    match run(payload, kernel, boot, told, tally) {
        Ok(results) => {
            let names = results.failed.iter();
            names.map(|name| format!("{place}: {name}")).collect()
        }
        Err(error) => {
            println!("{place}: {error:#}");
            let cause = error.root_cause().to_string();
            vec![format!("{place}: {}", cause.lines().next().unwrap_or(""))]
        }
    }
}

fn place(kernel: &Kernel, boot: &Boot) -> String {
    let image = match boot.image {
        Image::Small => "small",
        Image::Debian => "debian",
    };
    format!("{} {image} {}", kernel.name, boot.parameter)
        .trim_end()
        .to_owned()
}

/// Collects what a boot needs into one archive.
fn prepare(payload: &Payload, kernel: &Kernel, boot: &Boot, told: &Told) -> Result<Machine> {
    let unpacked: Unpacked = kernel.fetch()?;
    let mut archive = Archive::default();
    archive.file("/init", 0o755, INIT.as_bytes());
    archive.host(&payload::find("busybox")?)?;
    unpacked.add_modules(&mut archive)?;
    let programs = payload.add(&mut archive, boot, told)?;
    let mut parameters = boot.parameter.to_owned();
    let mut disk = None;
    match boot.image {
        Image::Small => {
            small::add(&mut archive)?;
            for program in programs {
                payload::add_libraries(&mut archive, &program)?;
            }
        }
        Image::Debian => {
            disk = Some(debian::usual()?);
            parameters.push_str(" harden.image=debian");
        }
    }
    let name = place(kernel, boot).replace([' ', '='], "-");
    let file = |ending: &str| -> PathBuf { workspace::vm().join(format!("{name}.{ending}")) };
    let initramfs = file("cpio");
    fs::write(&initramfs, archive.finish())
        .with_context(|| format!("could not write {}", initramfs.display()))?;
    Ok(Machine {
        kernel: unpacked.image,
        initramfs,
        disk,
        parameters,
        console: file("console"),
    })
}

fn run(
    payload: &Payload,
    kernel: &Kernel,
    boot: &Boot,
    told: &Told,
    tally: &mut Tally,
) -> Result<Results> {
    let place = place(kernel, boot);
    let begin = Instant::now();
    let machine = prepare(payload, kernel, boot, told)?;
    println!(
        "{place}: prepared in {:.1} s",
        begin.elapsed().as_secs_f32()
    );

    let begin = Instant::now();
    let patience = BOOT
        + boot
            .suites
            .iter()
            .map(|suite| Duration::from_secs(told.seconds(suite)))
            .sum::<Duration>();
    let mut results = Results::default();
    let mut up = None;
    let end = machine.run(patience, |line| {
        match results.read(line, &place, tally) {
            Heard::Output => {
                println!("{place}: {line}");
                stdout().flush()?;
            }
            Heard::Start(release) => {
                let seconds = begin.elapsed().as_secs_f32();
                println!("{place}: Linux {release} is up after {seconds:.1} s");
                up = Some(seconds);
            }
            Heard::Suite(name) => println!("{place}: == suite {name}"),
            Heard::Noted => {}
            Heard::End => return Ok(false),
        }
        Ok(true)
    })?;
    qemu::explain(&end, &machine, patience)?;
    println!("{place}: {:.1} s in all", begin.elapsed().as_secs_f32());
    ensure!(
        results.ended == boot.suites.len(),
        "only {} of {} suites ran",
        results.ended,
        boot.suites.len()
    );
    let report = results.files.get("doctor.json");
    ensure!(
        report.is_some() || !boot.doctor,
        "`harden doctor --json` said nothing"
    );
    if let Some(report) = report {
        table::save(kernel.name, report.as_bytes())?;
    }
    Ok(results)
}
