//! Gathers the events and slots of one run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map},
    hash::{BuildHasher, RandomState},
    time::Instant,
};

use super::{
    address,
    clock::Clock,
    event::{self, Bytes, Event},
    names::{self, Fact},
    operation::operations,
    path, root,
};
use crate::{
    observation::{
        AddressOperation, CapabilityCheck, Deed, Executable, File, Inode, Inodes, Join, Operation,
        Seen, Socket, Text, Told,
    },
    probe::Record,
};
use harden_common::{
    Argument, CAPABILITIES, CAPABILITY_CHECKS, Counts, ERRNO_UNKNOWN, ExecutableId,
    FACT_CAPABILITY, FAILED, FactEvent, GRANTED, InodeRecord, PathEvent, PathOperation,
    SocketEvent, check, kind, path_flag,
};

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

    /// Takes one item that was parsed.
    pub fn take_event(&mut self, event: &Event<'_>) {
        self.last_new = Instant::now();
        match event {
            Event::Fact(event) => self.fact(event),
            Event::Socket(event) => self.socket(event),
            Event::Path(event, bytes) => match event.header.kind {
                kind::EXEC => self.exec(event, bytes),
                kind::ADDRESS => self.address(event, bytes),
                _ => self.path(event, bytes),
            },
            Event::Cgroup(event, _) if event.header.kind == kind::CGROUP_GONE => {
                self.cgroups_gone += 1;
            }
            // A child of the run's cgroup: its slots carry the run already.
            Event::Cgroup(..) => {}
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

    fn fact(&mut self, event: &FactEvent) {
        let seen = self.clock.seen(event.header.time);
        match names::fact(event.fact) {
            Some(fact) => {
                self.tell(event.header.slot, || (&fact).into());
                if let (Fact::Capability(name, _), Some(call)) = (&fact, names::call(event.call)) {
                    self.tell(event.header.slot, || Deed::GrantedIn(name, &call).into());
                    let facts = &mut self.slot(event.header.slot).facts;
                    let calls = facts.capability_calls.entry(name.clone()).or_default();
                    join(calls, call, seen.clone());
                }
                if event.fact == Argument::CallRefused.fact()
                    && let Some((abi, call)) = names::refused(event.call)
                {
                    self.tell(event.header.slot, || Deed::Refused(abi, &call).into());
                    let calls = self.slot(event.header.slot).facts.refused.entry(abi);
                    join(calls.or_default(), call, seen.clone());
                }
                insert(&mut self.slot(event.header.slot).facts, fact, seen);
            }
            None => self.unparsed += 1,
        }
    }

    fn socket(&mut self, event: &SocketEvent) {
        let seen = self.clock.seen(event.header.time);
        let socket = Socket {
            family: names::family(event.family),
            kind: names::socket_type(event.kind),
            protocol: event.protocol,
        };
        let outcome = names::outcome(event.errno);
        let slot = event.header.slot;
        self.tell(slot, || Deed::Socket(&socket, &outcome).into());
        let sockets = &mut self.slot(slot).facts.sockets;
        join(sockets.entry(socket).or_default(), outcome, seen);
    }

    fn exec(&mut self, event: &PathEvent, bytes: &Bytes<'_>) {
        let mut seen = self.clock.seen(event.header.time);
        let slot = self.slots.entry(event.header.slot).or_default();
        slot.is_told = true;
        // A memfd has no path. Nor has what was mounted by itself and detached, as runc does with its own program: the walk
        // begins and ends at the mount's root.
        let named = event.flags & path_flag::UNMOUNTED == 0 && !bytes.target.is_empty();
        if event.flags & path_flag::TARGET != 0 && named {
            let path = Text::from(path::walked(bytes.target));
            // The first is the host's, where a program changes its root.
            let known = self.programs.entry(event.inode.id);
            known.or_insert_with(|| path.clone());
            slot.path = Some(path);
        }
        if event.flags & path_flag::TARGET != 0 {
            slot.facts.inodes.extend(inode(&event.inode));
        }
        if !bytes.text.is_empty() {
            let name = path::joined(&path::walked(bytes.prefix), bytes.text);
            if let Some(news) = &mut self.news {
                news.push((event.header.slot, Deed::InvokedAs(&name).into()));
            }
            let invoked = slot.facts.invoked_as.entry(name).or_default();
            seen.set_counts(Some(invoked.count().unwrap_or(0) + 1), None);
            invoked.join(seen);
        }
    }

    fn address(&mut self, event: &PathEvent, bytes: &Bytes<'_>) {
        let seen = self.clock.seen(event.header.time);
        let Some(address) = address::parse(bytes.text, &path::walked(bytes.prefix)) else {
            return;
        };
        let outcome = names::outcome(event.errno);
        let (operation, on_file) = if event.operation == PathOperation::Bind as u32 {
            (AddressOperation::Bind, Operation::Bind)
        } else if event.operation == PathOperation::Connect as u32 {
            (AddressOperation::Connect, Operation::Connect)
        } else {
            (AddressOperation::Send, Operation::Connect)
        };
        let slot = event.header.slot;
        self.tell(slot, || {
            Deed::Address(operation, &address.text, &outcome).into()
        });
        if let Some(path) = &address.path {
            self.tell(slot, || Deed::File(path, on_file, &outcome).into());
        }
        self.granted_for(event, || operation.name(), address.text.as_bytes());
        let facts = &mut self.slots.entry(slot).or_default().facts;
        let addresses = facts.addresses.entry(operation).or_default();
        join(
            addresses.entry(address.text).or_default(),
            outcome.clone(),
            seen.clone(),
        );
        if let Some(path) = address.path {
            self.paths.insert(self.hasher.hash_one(&path));
            let file = facts.files.entry(path).or_default();
            file.operations.add(on_file, outcome, seen);
        }
    }

    fn path(&mut self, event: &PathEvent, bytes: &Bytes<'_>) {
        const O_TMPFILE: u32 = 0o20_000_000;
        let seen = self.clock.seen(event.header.time);
        let has = |flag| event.flags & flag != 0;
        // A prefix that could not be walked to its root names no file; the kernel counted it.
        if has(path_flag::TRUNCATED) || event.operation == 0 {
            return;
        }
        let asked = (!bytes.text.is_empty() && has(path_flag::PREFIX))
            .then(|| path::joined(&path::walked(bytes.prefix), bytes.text));
        let is_open = event.operation == PathOperation::Open as u32;
        // The file of O_TMPFILE has no name: what was used is the directory. A security hook gives that.
        let unnamed = is_open && event.argument & O_TMPFILE != 0 && event.errno != ERRNO_UNKNOWN;
        let own = (has(path_flag::TARGET) && !has(path_flag::UNMOUNTED) && !unnamed).then(|| {
            Text::from(if has(path_flag::TARGET_IS_PATH) {
                bytes.target.to_vec()
            } else {
                path::walked(bytes.target)
            })
        });
        let is_own = own.is_some();
        let Some(path) = own.or_else(|| asked.clone()) else {
            // A pipe, socket or memfd: it has no path.
            return;
        };
        let operations = operations(event.operation, event.argument);
        if let Some(operation) = operations.first() {
            self.granted_for(event, || operation.name(), path.as_bytes());
        }
        let Slot {
            facts,
            forgotten,
            new_names,
            ..
        } = &mut **self.slots.entry(event.header.slot).or_default();
        // To look at a descriptor takes no path. If this program opened it, that is recorded; if it
        // was handed the descriptor (its standard output, say), it needs the path for nothing.
        let looks = |operation: &Operation| {
            use Operation::{Stat, Statfs, XattrRead};
            matches!(operation, Stat | Statfs | XattrRead)
        };
        let is_known = |path| {
            facts.files.contains_key(path) || forgotten.contains(&self.hasher.hash_one(path))
        };
        if bytes.text.is_empty() && operations.iter().all(looks) && !is_known(&path) {
            return;
        }
        let asked = asked.filter(|asked| is_own && *asked != path);
        let outcome = names::outcome(event.errno);
        if let Some(news) = &mut self.news {
            let facts = operations
                .iter()
                .map(|operation| Deed::File(&path, *operation, &outcome).into());
            news.extend(facts.map(|fact| (event.header.slot, fact)));
        }
        let file = match facts.files.entry(path) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(entry) => {
                self.paths.insert(self.hasher.hash_one(entry.key()));
                entry.insert(File {
                    inodes: Inodes::with_capacity(usize::from(is_own)),
                    ..File::default()
                })
            }
        };
        *new_names += u32::from(file.operations.is_empty());
        if is_own {
            file.resolved = true;
            file.inodes.extend(inode(&event.inode));
            file.asked_as.extend(asked);
        }
        for operation in operations {
            file.operations
                .add(operation, outcome.clone(), seen.clone());
        }
        if *new_names >= FOLD_AFTER && self.news.is_some() {
            *new_names = 0;
            facts.fold_names();
        }
    }

    /// The capabilities that were granted for `operation` on `object`.
    fn granted_for(&mut self, event: &PathEvent, operation: impl Fn() -> String, object: &[u8]) {
        for name in names::capabilities(event.capabilities) {
            let seen = self.clock.seen(event.header.time);
            let object = Text::from([operation().as_bytes(), b" ", object].concat());
            self.tell(event.header.slot, || {
                Deed::GrantedFor(&name, &object).into()
            });
            let objects = &mut self.slot(event.header.slot).facts.capability_objects;
            join(objects.entry(name).or_default(), object, seen);
        }
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

fn add_facts(facts: &mut Executable, numbers: impl Iterator<Item = u32>) {
    for fact in numbers.filter_map(names::fact) {
        insert(facts, fact, Seen::default());
    }
}

/// A hook that stands before the outcome says nothing more where another hook has seen it.
fn forget_tries(facts: &mut Executable) {
    let tried = names::outcome(ERRNO_UNKNOWN);
    for file in facts.files.values_mut() {
        file.operations
            .retain(|all, operation, outcome| *outcome != tried || all.of(operation).count() == 1);
    }
}

/// Joins `other` into `facts`, but adds the counts.
fn add(facts: &mut Executable, mut other: Executable) {
    let sum = |own: Option<&Seen>, seen: &mut Seen| {
        let added = |own: Option<u64>, other: Option<u64>| {
            own.zip(other).map(|(own, other)| own + other).or(other)
        };
        let count = added(own.and_then(Seen::count), seen.count());
        let errors = added(own.and_then(Seen::errors), seen.errors());
        seen.set_counts(count, errors);
    };
    for (abi, calls) in &mut other.syscalls {
        for (call, seen) in calls {
            sum(
                facts.syscalls.get(abi).and_then(|calls| calls.get(call)),
                seen,
            );
        }
    }
    for (name, checks) in &mut other.capabilities {
        for (check, seen) in checks {
            let own = facts.capabilities.get(name);
            sum(own.and_then(|checks| checks.get(check)), seen);
        }
    }
    for (name, seen) in &mut other.invoked_as {
        sum(facts.invoked_as.get(name), seen);
    }
    facts.join(other);
}

fn count(facts: &mut Executable, counts: &Counts) {
    let (calls, granted) = counts.split_at(GRANTED);
    for (number, &count) in (0..CAPABILITIES)
        .zip(granted)
        .filter(|(_, count)| **count > 0)
    {
        let fact = FACT_CAPABILITY + number * CAPABILITY_CHECKS + check::GRANTED;
        if let Some(fact) = names::fact(fact) {
            let seen = Seen::default().counted(Some(count), None);
            insert(facts, fact, seen);
        }
    }
    let (made, failed) = calls.split_at(FAILED);
    let both = made.iter().zip(failed);
    for (number, (&count, &errors)) in (0..).zip(both).filter(|(_, (count, _))| **count > 0) {
        if let Some(fact) = names::fact(number) {
            // One that was entered before the slot was there may have come back to it.
            let errors = (errors > 0).then_some(errors.min(count));
            let seen = Seen::default().counted(Some(count), errors);
            insert(facts, fact, seen);
        }
    }
}

fn insert(facts: &mut Executable, fact: Fact, seen: Seen) {
    match fact {
        Fact::Syscall(abi, name) => join(facts.syscalls.entry(abi).or_default(), name, seen),
        Fact::Capability(name, check) => {
            join(facts.capabilities.entry(name).or_default(), check, seen);
        }
        Fact::Family(name) => join(&mut facts.families, name, seen),
        Fact::SocketType(name) => join(&mut facts.socket_types, name, seen),
        Fact::Argument(name) => join(&mut facts.arguments, name, seen),
    }
}

fn join<K: Ord>(map: &mut BTreeMap<K, Seen>, key: K, seen: Seen) {
    map.entry(key).or_default().join(seen);
}

/// `None` if the kernel had no inode at hand.
fn inode(record: &InodeRecord) -> Option<Inode> {
    (record.mode != 0).then(|| Inode {
        device: device(record.id.device),
        number: record.id.inode,
        generation: record.id.generation,
        mode: record.mode,
        uid: record.uid,
        gid: record.gid,
        rdev: device(record.rdev),
        filesystem: record.magic,
        acl: None,
    })
}

/// The kernel's own coding of a device number (major << 20 | minor) → that of stat(2).
fn device(kernel: u32) -> u64 {
    libc::makedev(kernel >> 20, kernel & 0xf_ffff)
}
