//! The agent's core: what comes from the kernel goes into the journal and the state, and at times into the
//! files of units.

mod ask;
mod forget;
mod losses;
mod runs;
mod save;
mod scan;
mod serve;
mod slots;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    time::Instant,
};

use harden_common::{CgroupEvent, RUN_PASSES, SLOT_EXCLUDED, kind};
use jiff::Timestamp;

use self::ask::Questions;
pub use self::slots::Retired;
use super::{
    config::Config,
    journal::{Journal, JournalError, Record},
    memory,
    request::{KernelSide, UnitSummary, Watcher},
    state::State,
    store::{Store, StoreError, Version},
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
pub enum CoreError {
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
pub struct Core {
    config: Config,
    sizes: Sizes,
    probe: Probe,
    origin: KernelSide,
    state: State,
    journal: Journal,
    store: Store,
    /// What does not work at this moment, by what it is about.
    faults: BTreeMap<&'static str, String>,
    /// What limits of `[state]` have had an effect, by option.
    limits: BTreeMap<&'static str, String>,
    /// Units whose records had no room for all of them.
    shrunk: BTreeSet<Text>,
    /// The figures of units as they are on disk, of those that were asked for.
    summaries: BTreeMap<Text, (Version, UnitSummary)>,
    /// So many records are in memory alone, at least.
    unwritten: u64,
    /// The journal lacks something that is nowhere else on disk.
    is_behind: bool,
    /// That is to be tried again at once.
    retry: bool,
    /// Cgroups that were born into observation and are not wanted.
    unwanted: Vec<u64>,
    /// And those of them that are the agent's.
    own_cgroups: Vec<u64>,
    /// Units about which systemd is to be asked.
    questions: Questions,
    /// How many cgroups went since slots were last looked for.
    gone: u32,
    /// When slots are looked for again.
    retire_at: Instant,
    /// When those of runs that are over can be freed.
    settled_at: Instant,
    /// Cgroups that are gone and of which no slot can come to light any more.
    bare: BTreeSet<u64>,
    /// Runs may have ended since that was last looked at.
    is_unsettled: bool,
    /// Units that are being written, one after the other.
    saving: VecDeque<Text>,
    /// Once these are, the journal's older files go.
    folding: Option<save::Folding>,
    /// The agent's own cgroup.
    own: Vec<u8>,
    watchers: Vec<Watcher>,
    started: Timestamp,
    events: u64,
    unparsed: u64,
    told: losses::Told,
    compacted: Instant,
    rested: Rested,
    /// The journal's bytes when it was begun: more is not in the files of units.
    folded: u64,
    cut: Instant,
    swept: Instant,
}

impl Core {
    /// Loads the kernel side or takes over the one that is there, and reads what an earlier agent has left.
    ///
    /// # Errors
    /// [`CoreError`]: nothing can be recorded, or what is on disk cannot be read.
    pub fn start(config: Config, sizes: Sizes) -> Result<(Self, Events), CoreError> {
        let mut store = Store::open(&config.state.directory, config.state.max_per_unit)?;
        let mut state = State::default();
        state.limit_units(config.state.max_units as usize);
        for unit in store.units() {
            state.name(unit);
        }
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
            faults: BTreeMap::new(),
            limits: BTreeMap::new(),
            shrunk: BTreeSet::new(),
            summaries: BTreeMap::new(),
            unwritten: 0,
            is_behind: false,
            retry: false,
            unwanted: Vec::new(),
            own_cgroups: Vec::new(),
            questions: Questions::default(),
            gone: 0,
            retire_at: Instant::now(),
            settled_at: Instant::now(),
            bare: BTreeSet::new(),
            is_unsettled: true,
            saving: VecDeque::new(),
            folding: None,
            own: scan::own_cgroup()?,
            watchers: Vec::new(),
            started: Timestamp::now(),
            events: 0,
            unparsed: 0,
            told: losses::Told::default(),
            compacted: Instant::now(),
            rested: Rested::default(),
            folded: 0,
            cut: Instant::now(),
            swept: Instant::now(),
        };
        core.forget_rest();
        core.say_store();
        core.begin(&mut events)?;
        memory::give_back();
        Ok((core, events))
    }

    /// What the kernel programs say of themselves; once.
    pub fn take_kernel_log(&mut self) -> Option<KernelLog> {
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
        self.adopt_slots()
    }

    /// Takes one item of the ring buffer: what it says is in the journal when this returns.
    pub fn take(&mut self, item: &[u8]) {
        self.events += 1;
        match collect::parse(item) {
            Some(Event::Cgroup(event, path)) if event.header.kind == kind::CGROUP_BORN => {
                self.born(&event, path);
            }
            Some(Event::Cgroup(event, _)) => {
                let (cgroup, time) = (event.cgroup, event.header.time);
                self.gone += 1;
                if self.state.has_cgroup(cgroup) {
                    self.record(Record::Gone { cgroup, time });
                    self.retire_at = Instant::now();
                    self.questions.gone(&self.state, cgroup);
                }
            }
            Some(_) => self.fact(item),
            None => self.unparsed += 1,
        }
    }

    fn fact(&mut self, item: &[u8]) {
        let Some(header) = collect::header(item).filter(|header| header.slot != SLOT_EXCLUDED)
        else {
            return;
        };
        if !self.state.has_slot(header.slot) && !self.learn_slot(header.slot) {
            return;
        }
        if let Err(error) = self.journal.append_item(item) {
            self.journal_fails(&error);
        }
        self.state.item(item);
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
            self.pass_on(event.cgroup, 0, path);
        } else {
            self.pass_by(event.cgroup, Some(0), path);
        }
    }

    /// Remembers a record and takes in what it says.
    fn record(&mut self, record: Record) {
        if let Err(error) = self.journal.append(&record) {
            self.journal_fails(&error);
        }
        self.state.apply(record);
    }

    /// Says that something does not work; recording goes on meanwhile.
    fn fails(&mut self, what: &'static str, error: &(dyn std::error::Error + 'static)) {
        let text = chain(error);
        match self.faults.insert(what, text.clone()) {
            None => tracing::error!("{what}: {text}; recording goes on in memory"),
            // One line for a disk that is full, not one for each file that does not fit on it.
            Some(before) if before != text => tracing::debug!("{what}: {text}"),
            Some(_) => {}
        }
    }

    /// Says that it works again.
    fn works(&mut self, what: &'static str) {
        if self.faults.remove(what).is_some() {
            tracing::info!("{what}: works again, and what was kept in memory is written");
        }
    }

    /// The kernel side is told how much would be lost with this process.
    fn keep_unwritten(&mut self, records: u64) {
        if records == self.unwritten {
            return;
        }
        self.unwritten = records;
        if let Err(error) = self.probe.set_unwritten(records) {
            tracing::debug!("{}", chain(&error));
        }
    }

    /// Something is in memory alone.
    fn journal_fails(&mut self, error: &JournalError) {
        // A file that is gone can be made again at once. A full disk will be full for a while.
        self.retry |= !self.is_behind;
        self.is_behind = true;
        self.keep_unwritten(self.unwritten + 1);
        self.fails("journal", error);
    }

    /// What has to be done once a second.
    ///
    /// # Errors
    /// [`CoreError`] if the kernel side cannot be used any more.
    pub fn round(&mut self) -> Result<(), CoreError> {
        self.leave_unwanted()?;
        self.count_losses()?;
        self.questions.repeat(&self.state);
        self.settle()?;
        self.catch_up()?;
        let is_due = self.compacted.elapsed() >= self.config.state.compact_every;
        if is_due || self.journal.size() > JOURNAL_LIMIT {
            self.compact()?;
        }
        self.cut_window()?;
        self.rest();
        Ok(())
    }

    /// Gives memory back once nothing has happened for a while.
    fn rest(&mut self) {
        if self.events != self.rested.events {
            let events = self.events;
            self.rested = Rested { events, rounds: 0 };
        } else if self.rested.rounds <= QUIET {
            self.rested.rounds += 1;
            if self.rested.rounds == QUIET {
                memory::give_back();
            }
        }
    }

    /// Has facts written once many are only in memory, where each takes a kilobyte or two: hundreds of units that
    /// start at once tell of more than there is room for. Facts that cannot be written stay.
    ///
    /// # Errors
    /// [`CoreError`] if the kernel side cannot be used any more.
    pub fn relieve(&mut self) -> Result<(), CoreError> {
        let is_ill = self.is_behind || self.faults.contains_key("state directory");
        if self.state.held() > HELD_LIMIT && !is_ill {
            self.compact()?;
        }
        Ok(())
    }

    /// Has what was born into observation and is not wanted observed no more.
    fn leave_unwanted(&mut self) -> Result<(), CoreError> {
        let own = std::mem::take(&mut self.own_cgroups);
        self.probe.unobserve(&own)?;
        let unwanted = std::mem::take(&mut self.unwanted);
        if !unwanted.is_empty() {
            let observed = self.probe.observed()?;
            let passes = |id: &u64| Some((*id, observed.get(id)? | RUN_PASSES));
            let runs: Vec<_> = unwanted.iter().filter_map(passes).collect();
            self.probe.set_runs(&runs)?;
        }
        if !own.is_empty() || !unwanted.is_empty() {
            self.retire_later();
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
    pub fn is_full(&self) -> bool {
        self.state.held() > 4 * HELD_LIMIT
    }

    /// What is observed, in one line.
    #[must_use]
    pub fn describe(&self) -> String {
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
struct Rested {
    /// The events up to then.
    events: u64,
    rounds: u32,
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
