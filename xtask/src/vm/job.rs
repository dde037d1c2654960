//! One boot of a guest, from what goes into it to what its suites say.

use std::{
    cmp::Reverse,
    fmt, fs,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

pub use super::qemu::at_once;
use super::{
    Settings,
    cpio::Archive,
    debian,
    guest::{Boot, Image},
    kernel::{Kernel, Unpacked},
    payload::{self, Payload},
    qemu::{self, Machine},
    results::{Heard, Results},
    small, table,
};
use crate::{
    suites,
    suites::Program,
    test::{self, Tally, Times},
    workspace,
};

const INIT: &str = include_str!("guest/init");

/// A guest that is not up by then, with what `harden doctor` says, hangs.
const BOOT: Duration = Duration::from_mins(5);

/// A kernel, and what is booted with it.
#[derive(Debug)]
pub struct Job {
    kernel: &'static Kernel,
    boot: Boot,
}

/// `KERNEL IMAGE PARAMETER`
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kernel.name, self.boot.image)?;
        if self.boot.doctor {
            write!(f, " doctor")?;
        }
        match self.boot.parameter {
            "" => Ok(()),
            parameter => write!(f, " {parameter}"),
        }
    }
}

impl Job {
    /// A boot with this kernel.
    pub fn new(kernel: &'static Kernel, boot: Boot) -> Self {
        Self { kernel, boot }
    }

    /// What a suite's log and time go by here.
    fn name_of(&self, suite: &str) -> String {
        let parameter = match self.boot.parameter.rsplit_once(['=', '.']) {
            Some((_, value)) => format!("-{value}"),
            None => String::new(),
        };
        format!("{suite}@{}{parameter}", self.kernel.name)
    }

    /// How long it took last, else the time after which it hangs, which says which take longer than others.
    fn expected(&self, last: &std::collections::BTreeMap<String, f64>) -> Duration {
        let known = last.get(&format!("guest {self}")).copied();
        let limit = || {
            let seconds = self.boot.guests.iter().map(|(guest, _)| guest.seconds);
            Duration::from_secs(seconds.sum())
        };
        known.map_or_else(limit, Duration::from_secs_f64)
    }
}

/// Sorts boots, those that take longest first.
pub fn longest_first(jobs: &mut [Job]) {
    let last = test::last_times();
    jobs.sort_by_key(|job| Reverse(job.expected(&last)));
}

/// What boots said.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the tests say.
    pub tally: Tally,
    /// What failed, a line each.
    pub failed: Vec<String>,
}

impl Outcome {
    /// Adds what another has.
    pub fn add(&mut self, other: Self) {
        self.tally.add(other.tally);
        self.failed.extend(other.failed);
    }
}

/// Runs boots, as many at once as there is room for.
pub fn run_all(runner: &Runner<'_>, jobs: &[Job]) -> Outcome {
    let waiting = Mutex::new(jobs.iter());
    let outcome = Mutex::new(Outcome::default());
    thread::scope(|scope| {
        for _ in 0..at_once() {
            scope.spawn(|| {
                let done = runner.work_off(&waiting);
                outcome
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .add(done);
            });
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// What boots need that is the same for all.
pub struct Runner<'a> {
    payload: Payload<'a>,
    settings: Settings,
    times: &'a Times,
}

impl<'a> Runner<'a> {
    /// Collects it.
    pub fn new(
        program: &'a Program,
        harden: &Path,
        settings: Settings,
        times: &'a Times,
    ) -> Result<Self> {
        debian::usual()?;
        Ok(Self {
            payload: Payload::build(program, harden)?,
            settings,
            times,
        })
    }

    /// Runs what waits, one after the other, until nothing does.
    pub fn work_off<'b>(&self, waiting: &Mutex<impl Iterator<Item = &'b Job>>) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some(job) = test::next(waiting) {
            outcome.add(self.run(job));
        }
        outcome
    }

    /// Runs the suites of one boot.
    pub fn run(&self, job: &Job) -> Outcome {
        let begin = Instant::now();
        let mut results = Results::default();
        let result = self.try_run(job, &mut results);
        self.times.add(&format!("guest {job}"), begin);
        let names = results.failed.iter();
        let mut failed: Vec<_> = names.map(|name| format!("{job}: {name}")).collect();
        // The next boot is worth trying when this one does not even come up.
        if let Err(error) = result {
            println!("{job}: {error:#}");
            let cause = error.root_cause().to_string();
            failed.push(format!("{job}: {}", cause.lines().next().unwrap_or("")));
        }
        Outcome {
            tally: results.tally,
            failed,
        }
    }

    fn try_run(&self, job: &Job, results: &mut Results) -> Result<()> {
        let boot = &job.boot;
        let machine = self.prepare(job)?;
        let seconds = boot
            .guests
            .iter()
            .map(|(guest, _)| self.settings.seconds(guest));
        let patience = BOOT + Duration::from_secs(seconds.sum());
        let place = job.to_string();
        let mut listener = Listener {
            runner: self,
            job,
            name: place.clone(),
            begin: Instant::now(),
            log: log_of(&place)?,
        };
        let end = machine.run(patience, |line| {
            listener.hear(line, results.read(line, &place))
        })?;
        qemu::explain(&end, &machine, patience)?;
        ensure!(
            results.ended == boot.guests.len(),
            "only {} of {} suites ran",
            results.ended,
            boot.guests.len()
        );
        let wanted = self.payload.count(boot, &self.settings)?;
        let ended = results.tally.ended();
        ensure!(
            wanted == ended,
            "only {ended} of {wanted} tests came to an end"
        );
        let report = results.files.get("doctor.json");
        ensure!(
            report.is_some() || !boot.doctor,
            "`harden doctor --json` said nothing"
        );
        if let Some(report) = report {
            table::save(job.kernel.name, report.as_bytes())?;
        }
        Ok(())
    }

    /// Collects what a boot needs into one archive.
    fn prepare(&self, job: &Job) -> Result<Machine> {
        let unpacked: Unpacked = job.kernel.fetch()?;
        let boot = &job.boot;
        let mut archive = Archive::default();
        archive.file("/init", 0o755, INIT.as_bytes());
        archive.host(&payload::find("busybox")?)?;
        unpacked.add_modules(&mut archive)?;
        let programs = self.payload.add(&mut archive, boot, &self.settings)?;
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
        let name = job.to_string().replace([' ', '='], "-");
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

    /// A root shell in the Debian image.
    pub fn shell(&self, kernel: &'static Kernel) -> Result<()> {
        let boot = Boot {
            image: Image::Debian,
            parameter: "harden.shell",
            guests: Vec::new(),
            doctor: false,
        };
        let machine = self.prepare(&Job::new(kernel, boot))?;
        println!("vm: `exit` ends it");
        machine.shell()
    }
}

/// Keeps what the suites of a guest print in a log for each, and says how each went.
struct Listener<'a> {
    runner: &'a Runner<'a>,
    job: &'a Job,
    /// What the boot goes by, then each suite; since when it runs, and its log.
    name: String,
    begin: Instant,
    log: File,
}

impl Listener<'_> {
    /// Takes a line. Is there more to come?
    fn hear(&mut self, line: &str, heard: Heard<'_>) -> Result<bool> {
        let job = self.job;
        match heard {
            Heard::Output => {
                writeln!(self.log, "{line}")?;
                if self.runner.settings.show {
                    println!("{line}");
                }
            }
            Heard::Start(release) => {
                let seconds = self.begin.elapsed().as_secs_f32();
                println!("{job}: Linux {release} is up after {seconds:.1} s");
            }
            Heard::Suite(suite) => {
                self.name = job.name_of(suite);
                self.log = log_of(&self.name)?;
                self.begin = Instant::now();
            }
            Heard::Status(good) => {
                self.runner.times.add(&self.name, self.begin);
                test::report(&self.name, good, self.begin.elapsed())?;
            }
            Heard::Noted => {}
            Heard::End => return Ok(false),
        }
        Ok(true)
    }
}

fn log_of(name: &str) -> Result<File> {
    let file = suites::log(name);
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    File::create(&file).with_context(|| format!("could not write {}", file.display()))
}
