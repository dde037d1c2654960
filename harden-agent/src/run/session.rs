//! One recording, from the first program loaded to the last event read.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, process::ExitStatusExt},
    },
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

use super::{
    cgroup::Cgroup,
    child::{self, User},
    elsewhere::Elsewhere,
    signals::{Received, Signals},
    spool::Spool,
};
use crate::{
    collect::{self, Collector, Totals},
    machine::{descriptor::watch, host, proc},
    observation::{Run, RunKind, Text, Word},
    probe::{Events, Forced, Probe, ProbeError, Purpose, Sizes, grace_period},
};

/// How long processes have between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
/// How often the cgroup is looked at once the command itself has ended.
const POLL: Duration = Duration::from_millis(20);
/// How often slots are looked for that can be freed.
const ROUND: Duration = Duration::from_secs(1);
/// Slots are looked for earlier when so many cgroups went: one for this many slots.
const BATCH: u32 = 8;
/// The priority with which events are taken ("nice" value).
const PRIORITY: i32 = -10;
/// How often progress is told, and skipped programs are looked for.
const TICK: Duration = Duration::from_millis(250);

/// What to record.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Run it as this user.
    pub user: Option<User>,
    /// End it after this long.
    pub duration: Option<Duration>,
    /// Sizes of the maps.
    pub sizes: Sizes,
    /// Hooks to use instead of the best.
    pub tiers: Vec<Forced>,
    /// Keep task state in a hash even if the kernel has task storage.
    pub task_hash: bool,
}

/// How far a recording is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Facts so far.
    pub totals: Totals,
    /// Time since the last new one.
    pub quiet: Duration,
    /// The command itself has ended; what it left behind is being followed.
    pub command_ended: bool,
}

/// What came of it.
pub struct Recording {
    /// The run's identifier.
    pub id: Word,
    /// The run.
    pub run: Run,
}

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel side.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The command cannot be run.
    #[error("{command}: {error}")]
    Command {
        /// The program as it was given.
        command: Text,
        /// Why. Not called `source`: a caller that prints the chain of causes would print it twice.
        error: io::Error,
    },
    /// No cgroup for the command.
    #[error("no cgroup can be made for the command: {0}")]
    Cgroup(io::Error),
    /// Something else of the operating system.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

/// Runs the command and records it; reports how far it is four times a second, if asked to.
/// Must be called while the process has one thread.
///
/// # Errors
/// [`RunError`]; nothing of the command is left running.
pub async fn record(
    options: &Options,
    tell: Option<&dyn Fn(&Progress)>,
) -> Result<Recording, RunError> {
    let mut probe = if options.task_hash {
        Probe::load_with_task_hash(&options.sizes, &options.tiers)?
    } else {
        Probe::load(&options.sizes, &options.tiers, Purpose::Command)?
    };
    let events = Events::new(probe.take_events()?, options.sizes.ring)
        .map_err(system("the ring buffer cannot be waited for"))?;
    let cgroup = Cgroup::create().map_err(RunError::Cgroup)?;
    // The number only has to differ from that of other runs of this probe.
    probe.observe(cgroup.id(), 1)?;
    let signals = Signals::hold().map_err(system("signals cannot be held"))?;
    let door = cgroup.door().map_err(RunError::Cgroup)?;
    let started = Timestamp::now();
    let child = child::spawn(
        &options.command,
        options.user.as_ref(),
        &door,
        signals.mask_before(),
    )
    .map_err(|error| RunError::Command {
        command: program(&options.command),
        error,
    })?;
    // The command has its own priority by now. Ours is higher, as the ring buffer fills at the pace of
    // all CPUs, and is emptied at that of one. Without the privilege for it we go on as we are.
    let _ = rustix::process::setpriority_process(None, PRIORITY);
    let mut session = Session {
        probe,
        slots: options.sizes.slots,
        retired: None,
        events,
        spool: Spool::default(),
        collector: Collector::default(),
        elsewhere: Elsewhere::default(),
        cgroup,
        child,
        status: None,
        ending: None,
        interrupts: 0,
    };
    let status = session.follow(options, &signals, tell).await?;
    let ended = Timestamp::now();
    if let Some(retired) = session.retired.take() {
        passed(retired.grace.await)?;
        session.free(&retired.slots)?;
    }
    session.drain();
    let (probe, mut collector) = (session.probe, session.collector);
    for slot in probe.slots()? {
        let (record, counts) = probe.slot(slot)?;
        collector.finish_slot(slot, &record, counts.as_ref());
    }
    let mut losses = words(probe.losses()?.all);
    let mut facts = collector.finish();
    // Without it nothing would run here.
    let symlinks = collect::Disk::open("/".as_ref())
        .map(|mut disk| disk.look(&mut facts.executables))
        .unwrap_or_default();
    losses.extend(collect::withheld(facts.withheld));
    if facts.unparsed > 0 {
        losses.extend(words([("unparsed-event".to_owned(), facts.unparsed)]));
    }
    let run = Run {
        kind: RunKind::Command,
        label: None,
        invocation: None,
        stands_for: BTreeSet::new(),
        command: options
            .command
            .iter()
            .map(|argument| Text::from(argument.as_bytes()))
            .collect(),
        uid: options
            .user
            .as_ref()
            .map_or_else(|| nix::unistd::getuid().as_raw(), User::uid),
        started,
        ended,
        status: Some(status),
        host: host::this(),
        hooks: probe.hooks(),
        losses,
        filters: confined().into_iter().collect(),
        symlinks,
        executables: facts.executables,
        control: BTreeMap::new(),
    };
    Ok(Recording {
        id: identifier(),
        run,
    })
}

/// What is left to the command is left to the user who starts it.
fn confined() -> Option<Word> {
    proc::is_filtered(std::process::id()).then(|| Word::new("seccomp").ok())?
}

fn program(command: &[OsString]) -> Text {
    Text::from(
        command
            .first()
            .map_or(&[][..], |program| program.as_bytes()),
    )
}

fn system(what: &'static str) -> impl Fn(io::Error) -> RunError {
    move |error| RunError::System(what, error)
}

fn words(losses: impl IntoIterator<Item = (String, u64)>) -> BTreeMap<Word, u64> {
    losses
        .into_iter()
        .filter_map(|(kind, count)| Some((Word::new(kind).ok()?, count)))
        .collect()
}

fn identifier() -> Word {
    let uuid = uuid::Uuid::new_v4().to_string();
    // A UUID is 36 hexadecimal digits and dashes: always a word.
    Word::new(uuid).unwrap_or_else(|_| Word::numbered("run", std::process::id()))
}

/// The shell's convention.
fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Items that are taken in before the ring buffer is looked at again.
const AT_ONCE: usize = 1024;

/// Slots that wait for a grace period.
struct Retired {
    slots: Vec<u32>,
    /// Over when that is.
    grace: tokio::task::JoinHandle<Result<(), ProbeError>>,
}

/// A recording in progress.
struct Session {
    probe: Probe,
    /// How many there are.
    slots: u32,
    retired: Option<Retired>,
    events: Events,
    spool: Spool,
    collector: Collector,
    elsewhere: Elsewhere,
    cgroup: Cgroup,
    child: Child,
    status: Option<i32>,
    /// When the processes are to be killed, once they were asked to end.
    ending: Option<Instant>,
    interrupts: u32,
}

impl Session {
    /// Until the command has ended, its cgroup is empty, and what has left that has ended, too. Returns the command's
    /// status.
    async fn follow(
        &mut self,
        options: &Options,
        signals: &Signals,
        tell: Option<&dyn Fn(&Progress)>,
    ) -> Result<i32, RunError> {
        let exited = self.exit_descriptor()?;
        let deadline = options.duration.map(|duration| Instant::now() + duration);
        let mut tick = tokio::time::interval(TICK);
        let mut round = tokio::time::interval(ROUND);
        loop {
            if let Some(status) = self.status
                && !self.cgroup.is_populated()
                && !self.goes_on_elsewhere()
            {
                return Ok(status);
            }
            tokio::select! {
                result = self.events.more(|item| self.spool.push(item)), if !self.spool.is_full() => {
                    result.map_err(system("the ring buffer cannot be read"))?;
                }
                // Not what is ready at once: the runtime would look at nothing else.
                () = tokio::task::yield_now(), if self.is_to_take_in() => {
                    self.take_in(AT_ONCE);
                    if !self.spool.is_full() {
                        self.events.drain(|item| self.spool.push(item));
                    }
                    let gone = self.collector.cgroups_gone();
                    if self.retired.is_none() && gone > self.slots / BATCH {
                        self.retire()?;
                    }
                }
                slots = over(&mut self.retired) => self.free(&slots?)?,
                _ = round.tick(), if self.retired.is_none() => self.retire()?,
                result = exited.readable(), if self.status.is_none() => {
                    result.map_err(system("the command cannot be waited for"))?.retain_ready();
                    let status = self.child.wait().map_err(system("the command cannot be waited for"))?;
                    self.status = Some(exit_code(status));
                }
                () = tokio::time::sleep(POLL), if self.status.is_some() => {}
                received = signals.next() => {
                    self.received(received.map_err(system("signals cannot be read"))?);
                }
                () = at(deadline), if self.ending.is_none() => self.end(),
                () = at(self.ending), if self.ending.is_some() => {
                    self.cgroup.signal(Signal::SIGKILL);
                    self.ending = Some(Instant::now() + GRACE);
                }
                _ = tick.tick() => {
                    self.probe.attend_to_skips()?;
                    if let Some(tell) = tell {
                        tell(&self.progress());
                    }
                }
            }
        }
    }

    /// Whether a process that has left the cgroup goes on. Nobody waits for it once all are to end: it is another's by now,
    /// such as a session or a container, and is not asked to.
    fn goes_on_elsewhere(&mut self) -> bool {
        if self.ending.is_some() {
            return false;
        }
        // What has come may be of one that has left.
        self.drain();
        self.elsewhere.is_any()
    }

    fn take_in(&mut self, items: usize) {
        self.spool.take(items, |item| {
            self.elsewhere.see(item);
            self.collector.take(item);
        });
    }

    /// Whether something waits, and the ring buffer does not.
    fn is_to_take_in(&self) -> bool {
        self.spool.items() > 0 && (!self.events.is_more() || self.spool.is_full())
    }

    /// Takes in all that has come, and keeps what comes meanwhile.
    fn drain(&mut self) {
        self.events.drain(|item| self.spool.push(item));
        let mut left = self.spool.items();
        while left > 0 {
            let some = left.min(AT_ONCE);
            self.take_in(some);
            left -= some;
            self.events.drain(|item| self.spool.push(item));
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            totals: self.collector.totals(),
            quiet: self.collector.last_new().elapsed(),
            command_ended: self.status.is_some(),
        }
    }

    /// Begins to free the slots of cgroups that are gone.
    fn retire(&mut self) -> Result<(), RunError> {
        self.collector.take_cgroups_gone();
        let slots = self.probe.retire()?;
        self.retired = (!slots.is_empty()).then(|| Retired {
            slots,
            grace: tokio::task::spawn_blocking(grace_period),
        });
        Ok(())
    }

    /// Takes the last of what was recorded in `slots`, and frees them.
    fn free(&mut self, slots: &[u32]) -> Result<(), RunError> {
        self.drain();
        for &slot in slots {
            let (record, counts) = self.probe.slot(slot)?;
            self.collector.finish_slot(slot, &record, counts.as_ref());
        }
        Ok(self.probe.free(slots)?)
    }

    /// Readable once the command has ended.
    fn exit_descriptor(&self) -> Result<AsyncFd<OwnedFd>, RunError> {
        let pid = rustix::process::Pid::from_child(&self.child);
        let descriptor = pidfd_open(pid, PidfdFlags::NONBLOCK)
            .map_err(|error| RunError::System("the command cannot be waited for", error.into()))?;
        watch(descriptor).map_err(system("the command cannot be waited for"))
    }

    /// The first Ctrl-C is the command's own business while it runs; whatever means "end" after
    /// that, or goes to what it left behind, ends everything.
    fn received(&mut self, received: Received) {
        match received.signal {
            Signal::SIGINT | Signal::SIGQUIT if self.status.is_none() && self.interrupts == 0 => {
                self.interrupts += 1;
                if !received.from_terminal {
                    let _ = kill(
                        Pid::from_raw(self.child.id().cast_signed()),
                        received.signal,
                    );
                }
            }
            _ if self.ending.is_some() => self.cgroup.signal(Signal::SIGKILL),
            _ => self.end(),
        }
    }

    /// Asks every process to end.
    fn end(&mut self) {
        self.ending = Some(Instant::now() + GRACE);
        self.cgroup.signal(Signal::SIGTERM);
        // A stopped process gets its signal when it goes on.
        self.cgroup.signal(Signal::SIGCONT);
    }
}

/// Waits until `instant`, or for ever.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits until the grace period of `retired` is over, and hands the slots out; for ever if there is none.
async fn over(retired: &mut Option<Retired>) -> Result<Vec<u32>, RunError> {
    let Some(waiting) = retired else {
        return std::future::pending().await;
    };
    passed((&mut waiting.grace).await)?;
    Ok(retired.take().map(|over| over.slots).unwrap_or_default())
}

/// What came of a grace period.
fn passed(grace: Result<Result<(), ProbeError>, tokio::task::JoinError>) -> Result<(), RunError> {
    grace.map_err(|error| RunError::System("a grace period", error.into()))??;
    Ok(())
}
