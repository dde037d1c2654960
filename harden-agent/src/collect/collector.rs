//! Gathers the events and slots of one run.

mod events;
mod facts;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map},
    hash::{BuildHasher as _, RandomState},
    time::Instant,
};

use self::{
    events::device,
    facts::{add, add_facts, count, forget_tries},
};
use super::{clock::Clock, event, names, root};
use crate::{
    observation::{CapabilityCheck, Executable, Seen, Text, Told},
    probe::Record,
};
use harden_common::{Counts, ExecutableId};

/// What one executable did, as far as it is known.
#[derive(Clone, Default)]
struct Slot {
    path: Option<Text>,
    /// An exec event of it came, if only one of a program without a path.
    is_told: bool,
    executable: Option<ExecutableId>,
    facts: Executable,
    /// Hashes of paths among facts that were given away.
    forgotten: HashSet<u64>,
    /// Whether that it is of another root was among them.
    other_root: bool,
    /// Files that came since it was last looked whether a directory has too many names.
    new_names: u32,
}

/// After so many new files of one program it is looked whether a directory has too many names.
const FOLD_AFTER: u32 = 2000;

/// So many hashes of paths are kept among facts that were given away.
const FORGOTTEN: usize = 100_000;

/// Facts so far: of slots in use by slot, of those that were freed by program.
#[derive(Clone)]
pub struct Collector {
    clock: Clock,
    /// Boxed: a node of the tree has room for eleven, and most runs have one.
    slots: BTreeMap<u32, Box<Slot>>,
    finished: BTreeMap<Text, Executable>,
    /// Paths of programs, for slots whose exec event was lost.
    programs: HashMap<ExecutableId, Text>,
    /// Programs of which one slot at least was not counted: sums of the others would say too little.
    uncounted: BTreeSet<Text>,
    /// As [`Facts::withheld`].
    withheld: u64,
    /// Hashes of the paths so far, to count different ones.
    paths: HashSet<u64>,
    hasher: RandomState,
    cgroups_gone: u32,
    unparsed: u64,
    last_new: Instant,
    /// What came since this was last taken, where somebody takes it.
    news: Option<Vec<(u32, Told)>>,
}

/// How many different facts there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Different calls.
    pub calls: usize,
    /// Different capabilities granted.
    pub capabilities: usize,
    /// Different paths.
    pub paths: usize,
    /// Different socket families.
    pub families: usize,
    /// Programs.
    pub programs: usize,
}

/// The facts of a run, complete.
pub struct Facts {
    /// By program.
    pub executables: BTreeMap<Text, Executable>,
    /// Events that this build could not read: a bug, or another build's kernel programs.
    pub unparsed: u64,
    /// Capabilities left out, as nothing tells which program had them: its exec event was lost, and no other event named
    /// it. It may be what prepares a service, which has more than the service needs.
    pub withheld: u64,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            slots: BTreeMap::new(),
            finished: BTreeMap::new(),
            programs: HashMap::new(),
            uncounted: BTreeSet::new(),
            withheld: 0,
            paths: HashSet::new(),
            hasher: RandomState::new(),
            cgroups_gone: 0,
            unparsed: 0,
            last_new: Instant::now(),
            news: None,
        }
    }
}

impl Collector {
    /// One that keeps what it is told for [`Self::take_news`], and goes by `clock`.
    #[must_use]
    pub fn with_news(clock: Clock) -> Self {
        Self {
            clock,
            news: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// The facts that events told since the last time, each with its slot, new or not.
    pub fn take_news(&mut self) -> Vec<(u32, Told)> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn tell(&mut self, slot: u32, fact: impl FnOnce() -> Told) {
        if let Some(news) = &mut self.news {
            news.push((slot, fact()));
        }
    }

    /// The program of `slot`, if its exec event came.
    #[must_use]
    pub fn program(&self, slot: u32) -> Option<&Text> {
        self.slots.get(&slot)?.path.as_ref()
    }

    /// Takes one item of the ring buffer.
    pub fn take(&mut self, item: &[u8]) {
        if let Some(event) = event::parse(item) {
            self.take_event(&event);
        } else {
            self.last_new = Instant::now();
            self.unparsed += 1;
        }
    }

    /// How many cgroups went since this was last asked for.
    pub fn take_cgroups_gone(&mut self) -> u32 {
        std::mem::take(&mut self.cgroups_gone)
    }

    /// The same, without taking note.
    #[must_use]
    pub fn cgroups_gone(&self) -> u32 {
        self.cgroups_gone
    }

    /// When the last event came.
    #[must_use]
    pub fn last_new(&self) -> Instant {
        self.last_new
    }

    /// How many different facts there are so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let all = || {
            let in_use = self.slots.values().map(|slot| &slot.facts);
            in_use.chain(self.finished.values())
        };
        let calls: BTreeSet<_> = all()
            .flat_map(|facts| facts.syscalls.values().flat_map(BTreeMap::keys))
            .collect();
        let granted = |checks: &BTreeMap<CapabilityCheck, Seen>| {
            checks.contains_key(&CapabilityCheck::Granted)
        };
        let capabilities: BTreeSet<_> = all()
            .flat_map(|facts| facts.capabilities.iter())
            .filter(|(_, checks)| granted(checks))
            .map(|(name, _)| name)
            .collect();
        let families: BTreeSet<_> = all().flat_map(|facts| facts.families.keys()).collect();
        let programs: BTreeSet<_> = self
            .slots
            .values()
            .filter_map(|slot| slot.path.as_ref())
            .chain(self.finished.keys())
            .collect();
        Totals {
            calls: calls.len(),
            capabilities: capabilities.len(),
            paths: self.paths.len(),
            families: families.len(),
            programs: programs.len(),
        }
    }

    fn slot(&mut self, number: u32) -> &mut Slot {
        self.slots.entry(number).or_default()
    }

    /// Adds what only the record of `slot` knows. What comes of this slot later is another owner's.
    pub fn finish_slot(&mut self, slot: u32, record: &Record, counts: Option<&Counts>) {
        let Some(record) = event::slot(record) else {
            return;
        };
        let Slot {
            path,
            is_told,
            mut facts,
            other_root,
            ..
        } = *self.slots.remove(&slot).unwrap_or_default();
        let set = (0..).zip(record.facts).filter(|(_, byte)| *byte != 0);
        add_facts(&mut facts, set.map(|(number, _)| number));
        if let Some(counts) = counts {
            count(&mut facts, counts);
        }
        forget_tries(&mut facts);
        self.withhold(is_told, record.key.executable, &mut facts);
        let other_root = other_root || root::is_other(&facts);
        let path = self.named(path, record.key.executable, other_root);
        if counts.is_none() {
            self.uncounted.insert(path.clone());
        }
        self.file(path, facts, other_root);
    }

    /// Leaves out what a program of which nothing was told had as capabilities.
    fn withhold(&mut self, is_told: bool, id: ExecutableId, facts: &mut Executable) {
        if is_told || self.programs.contains_key(&id) {
            return;
        }
        self.withheld += facts.capabilities.len() as u64;
        facts.capabilities.clear();
        facts.capability_calls.clear();
        facts.capability_objects.clear();
    }

    /// The name of a program, whatever became of its exec event: its path, where it ran on the host's root.
    fn named(&self, path: Option<Text>, id: ExecutableId, other_root: bool) -> Text {
        let known = self.programs.get(&id).cloned();
        if other_root {
            return root::name(&known.or(path).unwrap_or_default());
        }
        path.or(known).unwrap_or_else(|| {
            // It has no path, or no exec event of it arrived and that is counted.
            Text::from(format!(
                "/unknown program, inode {} of device {}",
                id.inode,
                device(id.device)
            ))
        })
    }

    fn file(&mut self, path: Text, mut facts: Executable, other_root: bool) {
        if other_root {
            root::forget_paths(&mut facts);
        }
        match self.finished.entry(path) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert(facts);
            }
            // The same path again: an upgrade, or another cgroup. Counts add up, as these are
            // different processes; the join would take the larger.
            btree_map::Entry::Occupied(mut entry) => add(entry.get_mut(), facts),
        }
    }

    /// Says whose `slot` is, before anything of it comes, and how that program is called where another run has told.
    pub fn set_owner(&mut self, slot: u32, executable: ExecutableId, name: Option<&Text>) {
        self.slot(slot).executable = Some(executable);
        if let Some(name) = name
            && !self.programs.contains_key(&executable)
        {
            self.programs.insert(executable, name.clone());
        }
    }

    /// Whether what `slot` did was in another root directory than the host's.
    #[must_use]
    pub fn is_elsewhere(&self, slot: u32) -> bool {
        let slot = self.slots.get(&slot);
        slot.is_some_and(|slot| slot.other_root || root::is_other(&slot.facts))
    }

    /// Adds facts that the record of `slot` has, by their numbers.
    pub fn add_known(&mut self, slot: u32, numbers: impl Iterator<Item = u32> + Clone) {
        if let Some(news) = &mut self.news {
            let facts = numbers.clone().filter_map(names::fact);
            news.extend(facts.map(|fact| (slot, (&fact).into())));
        }
        add_facts(&mut self.slot(slot).facts, numbers);
    }

    /// Forgets all facts, but not which slot is of which program.
    pub fn forget_facts(&mut self) {
        self.finished.clear();
        // It would keep its room.
        self.paths = HashSet::new();
        for slot in self.slots.values_mut() {
            let facts = std::mem::take(&mut slot.facts);
            let paths = facts.files.keys();
            slot.other_root |= root::is_other(&facts);
            let room = FORGOTTEN.saturating_sub(slot.forgotten.len());
            let hashes = paths.map(|path| self.hasher.hash_one(path));
            slot.forgotten.extend(hashes.take(room));
        }
    }

    /// The facts so far, of slots in use too: what only their records know is not among them.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let mut copy = self.clone();
        for slot in std::mem::take(&mut copy.slots).into_values() {
            let Slot {
                path,
                is_told,
                executable,
                mut facts,
                other_root,
                ..
            } = *slot;
            let executable = executable.unwrap_or_default();
            forget_tries(&mut facts);
            copy.withhold(is_told, executable, &mut facts);
            let other_root = other_root || root::is_other(&facts);
            let path = copy.named(path, executable, other_root);
            copy.file(path, facts, other_root);
        }
        Facts {
            executables: copy.finished,
            unparsed: copy.unparsed,
            withheld: copy.withheld,
        }
    }

    /// Hands out the facts, once all slots are finished.
    #[must_use]
    pub fn finish(mut self) -> Facts {
        // Events of slots that have no record: a bug, so do not stay silent.
        self.unparsed += self.slots.len() as u64;
        for path in &self.uncounted {
            let Some(facts) = self.finished.get_mut(path) else {
                continue;
            };
            let calls = facts.syscalls.values_mut().flat_map(BTreeMap::values_mut);
            let checks = facts.capabilities.values_mut();
            calls
                .chain(checks.flat_map(BTreeMap::values_mut))
                .for_each(|seen| seen.set_counts(None, None));
        }
        Facts {
            executables: self.finished,
            unparsed: self.unparsed,
            withheld: self.withheld,
        }
    }
}
