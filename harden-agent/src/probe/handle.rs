//! The kernel side as the rest of harden sees it, whether this process loaded it or an earlier one.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    time::Instant,
};

use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues, RingBuf};
use harden_common::Loss;

use super::{
    error::ProbeError,
    kernel_log::{self, KernelLog},
    load::{Loaded, Purpose},
    maps::Maps,
    programs::Programs,
    shares::Shares,
    sizes::Sizes,
    tiers::Forced,
};

/// What could not be recorded so far, by kind; kinds with no loss are left out. Skipped programs are among them
/// (`skipped-sys_enter`): the kernel does not run a program inside itself on one CPU.
pub struct Losses {
    /// On the whole machine.
    pub all: BTreeMap<String, u64>,
    /// The part of it that is in no slot's record: it may have been of any run.
    pub unowned: BTreeMap<String, u64>,
}

/// The programs in the kernel. They are gone when this is dropped, unless they are pinned.
pub struct Probe {
    pub(super) maps: Maps,
    programs: Programs,
    identity: String,
    hooks: BTreeMap<String, String>,
    generation: u32,
    pub(super) slots: u32,
    pub(super) counted_slots: u32,
    /// Slots that were being freed when the process that did it ended.
    pub(super) unfinished: Vec<u32>,
    /// What is to be counted once the slots that were retired are free.
    pub(super) shares: Shares,
    /// Whether paths of cgroups were forgotten since they were counted: at first, perhaps by another process.
    pub(super) has_forgotten: bool,
    /// What earlier processes took and did not write.
    unwritten: u64,
    /// When another run began in a cgroup, unless that is long ago.
    pub(super) begun: HashMap<u64, Instant>,
    /// What the programs say, if they are to say anything.
    log: Option<KernelLog>,
    /// What was loaded here; nothing, where all is pinned.
    loaded: Option<Loaded>,
}

impl Probe {
    /// Loads and attaches the best tier of each kind of fact.
    ///
    /// # Errors
    /// [`ProbeError`] if not even calls can be observed; a hook that is refused otherwise is in
    /// [`Probe::hooks`] with its reason.
    pub fn load(sizes: &Sizes, forced: &[Forced], purpose: Purpose) -> Result<Self, ProbeError> {
        Self::of(Loaded::load(sizes, forced, purpose)?, sizes, purpose)
    }

    /// Loads the variant that keeps task state in a hash, as kernels before 5.13 need it, to record a
    /// command.
    ///
    /// # Errors
    /// As [`Probe::load`].
    pub fn load_with_task_hash(sizes: &Sizes, forced: &[Forced]) -> Result<Self, ProbeError> {
        let loaded = Loaded::load_with_task_hash(sizes, forced)?;
        Self::of(loaded, sizes, Purpose::Command)
    }

    fn of(mut loaded: Loaded, sizes: &Sizes, purpose: Purpose) -> Result<Self, ProbeError> {
        let maps = Maps::of(&mut loaded.ebpf)?;
        let log = kernel_log::of(&mut loaded.ebpf, purpose.log());
        let identity = uuid::Uuid::new_v4().to_string();
        let (programs, hooks) = (loaded.programs()?, loaded.hooks());
        let mut probe = Self::adopted(maps, programs, identity, hooks, log, sizes)?;
        probe.loaded = Some(loaded);
        Ok(probe)
    }

    /// What an earlier process left in the kernel.
    ///
    /// # Errors
    /// [`ProbeError`] if a map cannot be read.
    pub(super) fn adopted(
        maps: Maps,
        programs: Programs,
        identity: String,
        hooks: BTreeMap<String, String>,
        log: Option<KernelLog>,
        sizes: &Sizes,
    ) -> Result<Self, ProbeError> {
        let generation: Array<_, u32> = Array::try_from(maps.get("GENERATION")?)?;
        let losses: PerCpuArray<_, u64> = PerCpuArray::try_from(maps.get("LOSSES")?)?;
        let unwritten = losses.get(&(Loss::Unwritten as u32), 0)?.iter().sum();
        Ok(Self {
            generation: generation.get(&0, 0)?,
            slots: sizes.slots,
            counted_slots: sizes.counted_slots,
            maps,
            programs,
            identity,
            hooks,
            unfinished: Vec::new(),
            shares: Shares::default(),
            has_forgotten: true,
            unwritten,
            begun: HashMap::new(),
            log,
            loaded: None,
        })
    }

    /// Looks whether the kernel has skipped `sys_enter` or `sys_exit`, and attaches their copies if it
    /// has. To be called now and then. Where all is pinned, nothing more can be attached: what is skipped
    /// is counted.
    ///
    /// # Errors
    /// [`ProbeError`] if the kernel's types cannot be read.
    pub fn attend_to_skips(&mut self) -> Result<(), ProbeError> {
        let Some(loaded) = self.loaded.as_mut().filter(|loaded| loaded.has_spare()) else {
            return Ok(());
        };
        if self.programs.skipped("sys_enter") + self.programs.skipped("sys_exit") > 0 {
            loaded.attach_spare()?;
            self.hooks = loaded.hooks();
            self.programs = loaded.programs()?;
        }
        Ok(())
    }

    /// A UUID that was given when it was loaded: numbers of slots and of runs mean something with it alone.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What supplies each kind of fact, or why nothing does; and how tasks are attributed.
    #[must_use]
    pub fn hooks(&self) -> BTreeMap<String, String> {
        self.hooks.clone()
    }

    /// From its next call on each task looks for its slot again.
    pub(super) fn raise_generation(&mut self) -> Result<(), ProbeError> {
        self.generation = self.generation.wrapping_add(1);
        let mut generation: Array<_, u32> = Array::try_from(self.maps.get_mut("GENERATION")?)?;
        generation.set(0, self.generation, 0)?;
        Ok(())
    }

    /// The ring buffer; can be taken once. It goes on where the process that had it before has stopped: that
    /// place is in the kernel's keeping.
    ///
    /// # Errors
    /// [`ProbeError`] if it was taken before.
    pub fn take_events(&mut self) -> Result<RingBuf<MapData>, ProbeError> {
        Ok(RingBuf::try_from(self.maps.take("EVENTS")?)?)
    }

    /// What the programs say of themselves, if they do; once.
    pub fn take_log(&mut self) -> Option<KernelLog> {
        self.log.take()
    }

    /// Keeps in the kernel that `items` of the ring buffer are in the memory of this process alone: should it end before
    /// they are written, the next one finds them among the losses.
    ///
    /// # Errors
    /// [`ProbeError`] if the counter cannot be written.
    pub fn set_unwritten(&mut self, items: u64) -> Result<(), ProbeError> {
        let mut losses: PerCpuArray<_, u64> = PerCpuArray::try_from(self.maps.get_mut("LOSSES")?)?;
        let index = Loss::Unwritten as u32;
        let mut counts = losses.get(&index, 0)?.to_vec();
        counts.fill(0);
        if let Some(first) = counts.first_mut() {
            *first = self.unwritten + items;
        }
        let counts = PerCpuValues::try_from(counts)
            .map_err(|error| ProbeError::System("the number of CPUs changed", error))?;
        losses.set(index, counts, 0)?;
        Ok(())
    }

    /// What was lost so far.
    ///
    /// # Errors
    /// [`ProbeError`] if the counters cannot be read.
    pub fn losses(&self) -> Result<Losses, ProbeError> {
        let counters: PerCpuArray<_, u64> = PerCpuArray::try_from(self.maps.get("LOSSES")?)?;
        let mut unowned = self.programs.losses();
        let mut all = unowned.clone();
        for (loss, name) in Loss::ALL {
            let count = |index: u32| counters.get(&index, 0).map(|count| count.iter().sum());
            let of_nobody: u64 = count(loss as u32)?;
            let of_slots: u64 = count(loss as u32 + Loss::COUNT)?;
            // Beyond that, it is in the memory of this process.
            let of_nobody = match loss {
                Loss::Unwritten => self.unwritten,
                _ => of_nobody,
            };
            unowned.insert(name.to_owned(), of_nobody);
            all.insert(name.to_owned(), of_nobody + of_slots);
        }
        unowned.retain(|_, count| *count > 0);
        all.retain(|_, count| *count > 0);
        Ok(Losses { all, unowned })
    }
}

/// Waits until every program that runs now has ended: `membarrier(MEMBARRIER_CMD_GLOBAL)` is
/// `synchronize_rcu` (kernel/sched/membarrier.c). It takes some ten milliseconds.
///
/// # Errors
/// [`ProbeError`] if the kernel refuses.
pub fn grace_period() -> Result<(), ProbeError> {
    // SAFETY: the call takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result < 0 {
        return Err(ProbeError::System("membarrier", io::Error::last_os_error()));
    }
    Ok(())
}
