//! Loading the kernel programs and attaching what this kernel allows.

use std::{collections::BTreeMap, fs, io, os::fd::AsRawFd};

use aya::{
    Btf as AyaBtf, Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, Queue, RingBuf},
    programs::Program,
};
use harden_common::Loss;

use super::{
    attach::{Ready, attach_one, load_side_by_side},
    btf::BtfError,
    offsets::MissingMember,
    preemption::Preemption,
    running::Running,
    tiers::{self, Fact, Forced, Hook},
};

static STORAGE_OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/harden.bpf.o"));
static HASH_OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/harden-hash.bpf.o"));

/// The programs on a call's two ends, which make up for each other.
const CALL_PROGRAMS: [&str; 4] = ["sys_enter", "sys_enter_again", "sys_exit", "sys_exit_again"];

/// Why the copy of `sys_enter` is not attached at first.
const NOT_SKIPPED: &str = "not needed: this kernel does not skip programs";

/// How tasks are attributed by the second object.
const TASK_HASH: &str = "task-hash";

/// Why nothing can be observed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No privilege for BPF.
    #[error(
        "the kernel does not let this process load BPF programs ({0}); run it as root, or with the capabilities CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN; in a container, from the host"
    )]
    Privilege(io::Error),
    /// No type information.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A structure differs.
    #[error(transparent)]
    Member(#[from] MissingMember),
    /// The object or a map was refused.
    #[error("the kernel programs cannot be loaded: {0:#}")]
    Load(anyhow::Error),
    /// The hook that everything stands on was refused.
    #[error("system calls cannot be observed on this kernel: {0}")]
    NoSyscalls(String),
    /// A tier that was asked for was refused.
    #[error("the kernel refuses {0}, which --tier asks for: {1}")]
    Forced(String, String),
    /// A map operation failed; the cause says how.
    #[error("a BPF map cannot be used")]
    Map(#[from] MapError),
    /// A system call of the set-up failed.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

/// How large the maps are. Each limit, when hit, is counted as a loss.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Slots: one for each executable in each cgroup and run, at most [`harden_common::SLOTS_MAX`];
    /// 2,088 bytes each.
    pub slots: u32,
    /// Cgroups observed at once.
    pub cgroups: u32,
    /// Paths, sockets and addresses remembered as sent; about 120 bytes each.
    pub once: u32,
    /// Bytes of the ring buffer: a power of two, at least a page.
    pub ring: u32,
    /// Slots whose calls are counted, 4 KiB each on each CPU; 0 turns counting off.
    pub counted_slots: u32,
    /// Tasks whose state is kept, where the kernel has no task storage.
    pub tasks: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            slots: 4096,
            cgroups: 4096,
            once: 65_536,
            ring: 8 << 20,
            counted_slots: 256,
            tasks: 65_536,
        }
    }
}

/// The programs in the kernel. They are gone when this is dropped.
pub struct Probe {
    pub(super) ebpf: Ebpf,
    /// What supplies each kind of fact, or why nothing does.
    hooks: BTreeMap<Fact, Result<Hook, String>>,
    attribution: &'static str,
    generation: u32,
    pub(super) counted_slots: u32,
}

impl Probe {
    /// Loads and attaches the best tier of each kind of fact.
    ///
    /// # Errors
    /// [`ProbeError`] if not even calls can be observed; a hook that is refused otherwise is in
    /// [`Probe::hooks`] with its reason.
    pub fn load(sizes: &Sizes, forced: &[Forced]) -> Result<Self, ProbeError> {
        let kernel = Running::read()?;
        // A kernel without task storage for tracing programs refuses the first object's sys_enter.
        match Self::load_object(STORAGE_OBJECT, "task-storage", sizes, forced, &kernel) {
            Err(ProbeError::NoSyscalls(_) | ProbeError::Load(_)) => {
                Self::load_object(HASH_OBJECT, TASK_HASH, sizes, forced, &kernel)
            }
            other => other,
        }
    }

    /// Loads the variant that keeps task state in a hash, as kernels before 5.13 need it.
    ///
    /// # Errors
    /// As [`Probe::load`].
    pub fn load_with_task_hash(sizes: &Sizes, forced: &[Forced]) -> Result<Self, ProbeError> {
        let kernel = Running::read()?;
        Self::load_object(HASH_OBJECT, TASK_HASH, sizes, forced, &kernel)
    }

    /// Loads the variant that keeps task state in the kernel's task storage, and no other.
    ///
    /// # Errors
    /// As [`Probe::load`].
    pub(super) fn load_with_task_storage(sizes: &Sizes) -> Result<Self, ProbeError> {
        let kernel = Running::read()?;
        Self::load_object(STORAGE_OBJECT, "task-storage", sizes, &[], &kernel)
    }

    /// The programs, to try others of the same object.
    pub(super) fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    fn load_object(
        object: &[u8],
        attribution: &'static str,
        sizes: &Sizes,
        forced: &[Forced],
        kernel: &Running,
    ) -> Result<Self, ProbeError> {
        let paths = u32::from(paths_at_exit(forced));
        // The configuration, which may be packed, only tells of kernels that preempt little: what is
        // unlikely is noticed when it happens.
        let preemption = Preemption::of_this_kernel("");
        let skips_programs = preemption.is_some_and(Preemption::skips_programs);
        let skips = u32::from(skips_programs);
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&kernel.btf));
        // aya 0.14 does not know task storage; only the kernel side uses it.
        loader.allow_unsupported_maps();
        for (name, offset) in &kernel.offsets {
            // Each object lacks the constants that only the other uses.
            loader.override_global(name, offset, false);
        }
        loader.override_global("PATHS_AT_EXIT", &paths, true);
        loader.override_global("SKIPS_PROGRAMS", &skips, true);
        loader.override_global("COUNTED_SLOTS", &sizes.counted_slots, true);
        loader.override_global(
            "NOAUDIT_CALLERS",
            kernel.noaudit_callers.as_flattened(),
            true,
        );
        for (map, entries) in [
            ("SLOTS", sizes.slots),
            ("SLOT_OF", sizes.slots),
            ("FREE_SLOTS", sizes.slots),
            ("CGROUPS", sizes.cgroups),
            ("ONCE", sizes.once),
            ("EVENTS", sizes.ring),
            ("COUNTS", sizes.counted_slots.max(1)),
        ] {
            loader.map_max_entries(map, entries);
        }
        if attribution == TASK_HASH {
            loader.map_max_entries("TASKS", sizes.tasks);
        }
        let ebpf = loader.load(object).map_err(refused)?;
        let mut probe = Self {
            ebpf,
            hooks: BTreeMap::new(),
            attribution,
            generation: 0,
            counted_slots: sizes.counted_slots,
        };
        probe.fill_slots(sizes.slots)?;
        probe.attach(forced, &kernel.btf, skips_programs)?;
        Ok(probe)
    }

    fn fill_slots(&mut self, slots: u32) -> Result<(), ProbeError> {
        let mut free: Queue<_, u32> = Queue::try_from(map_mut(&mut self.ebpf, "FREE_SLOTS")?)?;
        for slot in 0..slots {
            free.push(slot, 0)?;
        }
        Ok(())
    }

    fn attach(
        &mut self,
        forced: &[Forced],
        btf: &AyaBtf,
        skips_programs: bool,
    ) -> Result<(), ProbeError> {
        let is_forced = |fact| forced.iter().any(|forced| forced.fact == fact);
        let is_wanted = |fact| fact != Fact::SkippedCalls || is_forced(fact) || skips_programs;
        let plan = tiers::plan(forced);
        let wanted = plan.iter().filter(|(fact, _)| is_wanted(*fact));
        let first = wanted.filter_map(|(_, hooks)| hooks.first());
        let mut ready = load_side_by_side(&mut self.ebpf, first);
        for (fact, hooks) in plan.iter().rev() {
            let supplied = if is_wanted(*fact) {
                self.attach_first(hooks, btf, &mut ready)
            } else {
                Err(NOT_SKIPPED.to_owned())
            };
            if let (Err(reason), Some(hook), true) = (&supplied, hooks.first(), is_forced(*fact)) {
                return Err(ProbeError::Forced(hook.name(), reason.clone()));
            }
            self.hooks.insert(*fact, supplied);
        }
        match self.hooks.get(&Fact::Syscalls) {
            Some(Err(reason)) => Err(ProbeError::NoSyscalls(reason.clone())),
            _ => Ok(()),
        }
    }

    /// The first of `hooks` that the kernel takes, or why it took none.
    fn attach_first(
        &mut self,
        hooks: &[Hook],
        btf: &AyaBtf,
        ready: &mut Ready,
    ) -> Result<Hook, String> {
        let mut refusals = Vec::new();
        for hook in hooks {
            match attach_one(&mut self.ebpf, *hook, btf, ready) {
                Ok(()) => return Ok(*hook),
                Err(refusal) => refusals.push(refusal.to_string()),
            }
        }
        Err(if hooks.is_empty() {
            "turned off".to_owned()
        } else {
            refusals.join("; ")
        })
    }

    /// Looks whether the kernel has skipped `sys_enter` or `sys_exit`, and attaches their copies if it
    /// has. To be called now and then.
    ///
    /// # Errors
    /// [`ProbeError`] if the kernel's types cannot be read.
    pub fn attend_to_skips(&mut self) -> Result<(), ProbeError> {
        let waiting = matches!(self.hooks.get(&Fact::SkippedCalls), Some(Err(reason)) if reason == NOT_SKIPPED);
        let skipped = |name| self.ebpf.program(name).map_or(0, recursion_misses);
        if waiting && skipped("sys_enter") + skipped("sys_exit") > 0 {
            let btf = AyaBtf::from_sys_fs().map_err(|error| ProbeError::Load(error.into()))?;
            let supplied =
                self.attach_first(tiers::tiers(Fact::SkippedCalls), &btf, &mut Ready::new());
            self.hooks.insert(Fact::SkippedCalls, supplied);
        }
        Ok(())
    }

    /// How many calls may have been seen by no program: at most as many as that was skipped for which
    /// was skipped the least. An entry that was not seen is made up for at the call's end.
    fn skipped_calls(&self) -> u64 {
        let attached = self.hooks.values().flatten().flat_map(|hook| hook.points);
        let programs = attached
            .map(|point| point.program)
            .filter(|name| CALL_PROGRAMS.contains(name));
        programs
            .filter_map(|name| self.ebpf.program(name).map(recursion_misses))
            .min()
            .unwrap_or(0)
    }

    /// What supplies each kind of fact, or why nothing does; and how tasks are attributed.
    #[must_use]
    pub fn hooks(&self) -> BTreeMap<String, String> {
        let hooks = self.hooks.iter().map(|(fact, hook)| {
            let text = match hook {
                Ok(hook) => hook.name(),
                Err(reason) => format!("none ({reason})"),
            };
            (fact.name().to_owned(), text)
        });
        hooks
            .chain([("attribution".to_owned(), self.attribution.to_owned())])
            .collect()
    }

    /// Observes the cgroup with id `cgroup` in run number `run`, from the moment this returns.
    ///
    /// # Errors
    /// [`ProbeError`] if the table of cgroups is full.
    pub fn observe(&mut self, cgroup: u64, run: u64) -> Result<(), ProbeError> {
        let mut cgroups: HashMap<_, u64, u64> =
            HashMap::try_from(map_mut(&mut self.ebpf, "CGROUPS")?)?;
        cgroups.insert(cgroup, run, 0)?;
        self.raise_generation()?;
        // Programs that had read the old number have ended after a grace period.
        grace_period()
    }

    /// From its next call on each task looks for its slot anew.
    pub(super) fn raise_generation(&mut self) -> Result<(), ProbeError> {
        self.generation = self.generation.wrapping_add(1);
        let mut generation: Array<_, u32> =
            Array::try_from(map_mut(&mut self.ebpf, "GENERATION")?)?;
        generation.set(0, self.generation, 0)?;
        Ok(())
    }

    /// The ring buffer; can be taken once.
    ///
    /// # Errors
    /// [`ProbeError`] if it was taken before.
    pub fn take_events(&mut self) -> Result<RingBuf<MapData>, ProbeError> {
        let map = self
            .ebpf
            .take_map("EVENTS")
            .ok_or_else(|| missing("EVENTS"))?;
        Ok(RingBuf::try_from(map)?)
    }

    /// What was lost so far, by kind; kinds with no loss are left out. Skipped programs are among
    /// them (`skipped-sys_enter`): the kernel does not run a program inside itself on one CPU.
    ///
    /// # Errors
    /// [`ProbeError`] if the counters cannot be read.
    pub fn losses(&self) -> Result<BTreeMap<String, u64>, ProbeError> {
        let counters: PerCpuArray<_, u64> = PerCpuArray::try_from(map(&self.ebpf, "LOSSES")?)?;
        let mut losses = BTreeMap::new();
        for (loss, name) in Loss::ALL {
            let sum = counters.get(&(loss as u32), 0)?.iter().sum();
            losses.insert(name.to_owned(), sum);
        }
        for (name, program) in self.ebpf.programs() {
            if !CALL_PROGRAMS.contains(&name) {
                losses.insert(format!("skipped-{name}"), recursion_misses(program));
            }
        }
        losses.insert("skipped-sys_enter".to_owned(), self.skipped_calls());
        losses.retain(|_, count| *count > 0);
        Ok(losses)
    }
}

/// `recursion_misses` of a loaded program, from its descriptor's fdinfo (5.12); 0 where unknown.
fn recursion_misses(program: &Program) -> u64 {
    let Ok(fd) = program.fd() else { return 0 };
    let info = format!(
        "/proc/self/fdinfo/{}",
        std::os::fd::AsFd::as_fd(fd).as_raw_fd()
    );
    let text = fs::read_to_string(info).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
        .unwrap_or(0)
}

/// Whether paths are to be looked at when calls come back. They are not if they come from other hooks
/// and nobody wants them as they were asked for.
fn paths_at_exit(forced: &[Forced]) -> bool {
    let elsewhere = |fact| {
        forced
            .iter()
            .rfind(|forced| forced.fact == fact)
            .is_some_and(|forced| forced.hook.is_none_or(|hook| hook.short != "sys_exit"))
    };
    ![Fact::Lookups, Fact::Files, Fact::PathOperations]
        .into_iter()
        .all(elsewhere)
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

pub(super) fn map<'a>(
    ebpf: &'a Ebpf,
    name: &'static str,
) -> Result<&'a aya::maps::Map, ProbeError> {
    ebpf.map(name).ok_or_else(|| missing(name))
}

pub(super) fn map_mut<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut aya::maps::Map, ProbeError> {
    ebpf.map_mut(name).ok_or_else(|| missing(name))
}

fn missing(name: &'static str) -> ProbeError {
    ProbeError::Load(anyhow::anyhow!("the object has no map {name}"))
}

/// Tells missing privilege from everything else.
fn refused(error: EbpfError) -> ProbeError {
    let error = anyhow::Error::from(error);
    let denied = error.chain().find_map(|cause| {
        let cause = cause.downcast_ref::<io::Error>()?;
        matches!(cause.raw_os_error(), Some(libc::EPERM | libc::EACCES))
            .then(|| io::Error::from(cause.kind()))
    });
    match denied {
        Some(cause) => ProbeError::Privilege(cause),
        None => ProbeError::Load(error),
    }
}
