//! The agent's core: what comes from the kernel goes into the journal and the state, and at times into the
//! files of units.

mod ask;
mod forget;
mod health;
mod losses;
mod retirement;
mod runs;
mod save;
mod saving;
mod scan;
mod serve;
mod shadow;
mod slots;
mod unwanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use harden_common::{CgroupEvent, RUN_PASSES, SLOT_EXCLUDED, kind};
use jiff::Timestamp;

pub(super) use self::slots::Retired;
use self::{
    ask::Questions, health::Health, losses::Reported, retirement::Retirement, runs::Windows,
    saving::Saving, serve::Summaries, unwanted::Unwanted,
};
use super::{
    config::Config,
    journal::{Journal, JournalError, Record},
    memory,
    request::{KernelSide, Watcher},
    shadow::Shadows,
    state::State,
    store::{Store, StoreError},
};
use crate::{
    collect::{self, Event},
    machine::host,
    machine::proc,
    observation::{Text, Word},
    probe::{Events, KernelLog, Origin, Probe, ProbeError, Purpose, Sizes},
};

/// Why the agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum CoreError {
    /// The kernel side.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The journal, at the beginning: later it is an error that is shown, and recording goes on.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The units' files, at the beginning.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of the operating system.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
    /// More cgroups are to be observed than the kernel side's table has room for.
    #[error(
        "{there} cgroups are to be observed, and kernel.cgroups = {room} has no room for them: raise it, or observe fewer units with units.include"
    )]
    TooManyCgroups {
        /// So many.
        there: usize,
        /// For so many there is room.
        room: u32,
    },
}

/// The core.
pub(super) struct Core {
    config: Config,
    sizes: Sizes,
    probe: Probe,
    origin: KernelSide,
    state: State,
    journal: Journal,
    store: Store,
    health: Health,
    saving: Saving,
    losses: Reported,
    retirement: Retirement,
    unwanted: Unwanted,
    questions: Questions,
    summaries: Summaries,
    idle: Idle,
    windows: Windows,
    watchers: Vec<Watcher>,
    shadows: Shadows,
    shadows_written: shadow::Written,
    started: Timestamp,
    events: u64,
}

impl Core {
    /// Loads the kernel side or takes over the one that is there, and reads what an earlier agent has left.
    ///
    /// # Errors
    /// [`CoreError`]: nothing can be recorded, or what is on disk cannot be read.
    pub(super) fn start(config: Config, sizes: Sizes) -> Result<(Self, Events), CoreError> {
        let mut store = Store::open(&config.state.directory, config.state.max_per_unit)?;
        let mut state = State::default();
        state.limit_units(config.state.max_units as usize);
        for unit in store.units() {
            state.register_file(unit);
        }
        let shadows = Shadows::open(&config.state.directory);
        let mut journal = Journal::open(&config.state.directory, collect::layout())?;
        let replay = journal.replay(|record| state.apply(record))?;
        for fault in &replay.faults {
            tracing::error!("the journal: {fault}");
        }
        let (mut probe, origin) = load(&config, &sizes)?;
        let mut events = Events::new(probe.take_events()?, sizes.ring)
            .map_err(|error| CoreError::System("the ring buffer cannot be waited for", error))?;
        let mut core = Self {
            config,
            sizes,
            probe,
            origin,
            state,
            journal,
            store,
            health: Health::default(),
            saving: Saving::default(),
            losses: Reported::default(),
            retirement: Retirement::default(),
            unwanted: Unwanted::new(scan::own_cgroup()?),
            questions: Questions::default(),
            summaries: Summaries::default(),
            idle: Idle::default(),
            windows: Windows::default(),
            watchers: Vec::new(),
            shadows,
            shadows_written: shadow::Written::default(),
            started: Timestamp::now(),
            events: 0,
        };
        core.forget_rest();
        core.say_store();
        core.say_shadows();
        core.begin(&mut events)?;
        memory::give_back();
        Ok((core, events))
    }

    /// What the kernel programs say of themselves; once.
    pub(super) fn take_kernel_log(&mut self) -> Option<KernelLog> {
        self.probe.take_log()
    }

    /// From here on, records are of the kernel side that there is now.
    fn begin(&mut self, events: &mut Events) -> Result<(), CoreError> {
        let id = word(self.probe.identity());
        // An agent that was killed between loading and its first record has left the journal of another one.
        let same = self.state.instance().is_some_and(|known| known.id == id);
        // A full disk is no reason not to record: it is tried again.
        if let Err(error) = self.fold() {
            self.journal_fails(&error);
        }
        if !same {
            self.record(Record::Instance {
                id,
                boot: word(&read("/proc/sys/kernel/random/boot_id")),
                started: Timestamp::now(),
                host: host::this(),
                hooks: self.probe.hooks(),
            });
        }
        self.scan()?;
        // They have the names of the programs that slots are of.
        events.drain(|item| self.take(item));
        self.adopt_slots()?;
        self.begin_shadows();
        Ok(())
    }

    /// Takes one item of the ring buffer: what it says is in the journal when this returns.
    pub(super) fn take(&mut self, item: &[u8]) {
        self.events += 1;
        match collect::parse(item) {
            Some(Event::Cgroup(event, path)) if event.header.kind == kind::CGROUP_BORN => {
                self.born(&event, path);
            }
            Some(Event::Cgroup(event, _)) => {
                let (cgroup, time) = (event.cgroup, event.header.time);
                self.retirement.count_gone();
                if self.state.has_cgroup(cgroup) {
                    self.record(Record::Gone { cgroup, time });
                    self.retirement.at_once();
                    self.questions.gone(&self.state, cgroup);
                }
            }
            Some(event) => self.fact(&event, item),
            None => self.losses.unparsed += 1,
        }
    }

    fn fact(&mut self, event: &Event<'_>, item: &[u8]) {
        let header = *event.header();
        if header.slot == SLOT_EXCLUDED {
            return;
        }
        if !self.state.has_slot(header.slot) && !self.learn_slot(header.slot) {
            return;
        }
        if let Err(error) = self.journal.append_item(item) {
            self.journal_fails(&error);
        }
        self.state.item(event, item);
        if header.kind == kind::EXEC {
            self.questions.executed(&self.state, header.slot);
            self.begins_confined(header.slot, header.pid);
        }
        self.tell();
    }

    /// A program began in `slot`: who started it may have given it a filter. One that is gone already is not asked.
    fn begins_confined(&mut self, slot: u32, pid: u32) {
        let Some(cgroup) = self.state.cgroup_of(slot) else {
            return;
        };
        let filters: BTreeSet<Word> = Word::new("seccomp").into_iter().collect();
        if !self.state.is_confined_by(cgroup, &filters) && proc::is_filtered(pid) {
            self.confined_by(cgroup, filters);
        }
    }

    /// A cgroup was made.
    fn born(&mut self, event: &CgroupEvent, path: &[u8]) {
        if self.is_wanted(path) {
            self.cgroup(event.cgroup, event.parent, event.header.time, path);
            self.unwanted.observe_children_only(event.cgroup, 0, path);
        } else {
            self.unwanted.ignore_cgroup(event.cgroup, Some(0), path);
        }
    }

    /// Remembers a record and takes in what it says.
    fn record(&mut self, record: Record) {
        if let Err(error) = self.journal.append(&record) {
            self.journal_fails(&error);
        }
        self.state.apply(record);
    }

    /// The kernel side is told how much would be lost with this process.
    fn keep_unwritten(&mut self, records: u64) {
        if !self.saving.keeps_in_memory(records) {
            return;
        }
        if let Err(error) = self.probe.set_unwritten(records) {
            tracing::debug!("{}", chain(&error));
        }
    }

    /// Something is in memory alone.
    fn journal_fails(&mut self, error: &JournalError) {
        self.saving.falls_behind();
        self.keep_unwritten(self.saving.unwritten() + 1);
        self.health.fails("journal", error);
    }

    /// What has to be done once a second.
    ///
    /// # Errors
    /// [`CoreError`] if the kernel side cannot be used any more.
    pub(super) fn round(&mut self) -> Result<(), CoreError> {
        self.leave_unwanted()?;
        self.count_losses()?;
        self.questions.repeat(&self.state);
        self.forget_gone_cgroups()?;
        self.catch_up()?;
        if self.saving.is_due(self.config.state.compact_every)
            || self.journal.size() > JOURNAL_LIMIT
        {
            self.compact()?;
        }
        self.cut_window()?;
        self.look_at_shadows()?;
        if self.idle.begins(self.events) {
            memory::give_back();
        }
        Ok(())
    }

    /// Has facts written once many are only in memory, where each takes a kilobyte or two: hundreds of units that
    /// start at once report more than there is room for. Facts that cannot be written stay.
    ///
    /// # Errors
    /// [`CoreError`] if the kernel side cannot be used any more.
    pub(super) fn relieve(&mut self) -> Result<(), CoreError> {
        if self.state.held() > HELD_LIMIT && !self.is_ill() {
            self.compact()?;
        }
        Ok(())
    }

    /// Whether something that was recorded cannot be written.
    fn is_ill(&self) -> bool {
        self.saving.is_behind() || !self.health.can_store()
    }

    /// Has what was born into observation and is not wanted observed no more.
    fn leave_unwanted(&mut self) -> Result<(), CoreError> {
        let (unwanted, own) = self.unwanted.take();
        self.probe.unobserve(&own)?;
        if !unwanted.is_empty() {
            let observed = self.probe.observed()?;
            let passes = |id: &u64| Some((*id, observed.get(id)? | RUN_PASSES));
            let runs: Vec<_> = unwanted.iter().filter_map(passes).collect();
            self.probe.set_runs(&runs)?;
        }
        if !own.is_empty() || !unwanted.is_empty() {
            self.retirement.later();
        }
        for cgroup in unwanted.into_iter().chain(own) {
            if !self.state.has_cgroup(cgroup) {
                self.probe.forget_cgroup(cgroup)?;
            }
        }
        Ok(())
    }

    /// Whether there is so much that is not written that the ring buffer has to wait for it. Else it does not:
    /// what is in the journal is safe, and what finds the buffer full is not.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        self.state.held() > 4 * HELD_LIMIT
    }

    /// What each kind of fact is recorded by.
    pub(super) fn hooks(&self) -> BTreeMap<String, String> {
        self.probe.hooks()
    }

    /// What is observed, in one line.
    #[must_use]
    pub(super) fn describe(&self) -> String {
        let cgroups = self.state.living().count();
        format!("{} units in {cgroups} cgroups", self.units().len())
    }

    /// Units that have cgroups or files.
    fn units(&self) -> BTreeSet<Text> {
        self.state.units().cloned().collect()
    }
}

/// For how long nothing has happened.
#[derive(Default)]
struct Idle {
    /// The events up to then.
    events: u64,
    rounds: u32,
}

impl Idle {
    /// Says, once, that nothing has happened for a while: no more than these `events`.
    fn begins(&mut self, events: u64) -> bool {
        if events != self.events {
            *self = Self { events, rounds: 0 };
            return false;
        }
        self.rounds = self.rounds.saturating_add(1);
        self.rounds == QUIET
    }
}

/// After so many rounds the agent rests.
const QUIET: u32 = 3;
/// A journal that is larger is folded at once.
const JOURNAL_LIMIT: u64 = 64 << 20;
/// So it is if more facts are only in memory.
const HELD_LIMIT: usize = 2048;

fn load(config: &Config, sizes: &Sizes) -> Result<(Probe, KernelSide), CoreError> {
    let tiers = &config.kernel.tiers;
    let log = config.kernel.log_level.into();
    let purpose = Purpose::Agent { log };
    let Some(directory) = &config.kernel.pin else {
        let probe = Probe::load(sizes, tiers, purpose)?;
        return Ok((probe, KernelSide::Loaded));
    };
    let (probe, origin) = Probe::pinned(directory, sizes, tiers, purpose)?;
    match origin {
        Origin::Adopted => {
            tracing::info!("the kernel side was recording, and is taken over");
            Ok((probe, KernelSide::Adopted))
        }
        Origin::Loaded { replaced } => {
            for version in replaced {
                tracing::warn!(
                    "the kernel side that was there, of another version or with other sizes in [kernel] ({version}), was removed: recording starts afresh"
                );
            }
            Ok((probe, KernelSide::Loaded))
        }
    }
}

fn read(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

fn word(text: &str) -> Word {
    Word::new(text).unwrap_or_else(|_| Word::numbered("unknown", 0))
}

/// An error and its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let texts: Vec<String> = anyhow::Chain::new(error).map(ToString::to_string).collect();
    texts.join(": ")
}

/// `CLOCK_MONOTONIC` in nanoseconds, as the kernel side has it.
fn monotonic() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    time.map_or(0, |time| {
        u64::try_from(time.tv_sec())
            .unwrap_or(0)
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0))
    })
}
