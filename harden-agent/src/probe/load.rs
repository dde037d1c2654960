//! Loading the kernel programs and attaching what this kernel allows.

use std::collections::BTreeMap;

use aya::{Btf as AyaBtf, Ebpf, EbpfLoader, maps::Queue};
use tracing::level_filters::LevelFilter;

use super::{
    attach::{Links, Ready, attach_one, load_side_by_side},
    error::{ProbeError, missing, refused},
    kernel_log,
    objects::{HASH_OBJECT, STORAGE_OBJECT},
    preemption::Preemption,
    programs::Programs,
    running::Running,
    sizes::Sizes,
    tiers::{self, Fact, Forced, Hook},
};

/// Why the copies of the programs on calls are not attached.
const NOT_SKIPPED: &str = "not needed: this kernel does not skip programs";
/// Why they are not attached at first, where nothing tells whether the kernel preempts programs.
const NOT_SEEN: &str = "not needed so far: no program was skipped";

/// How tasks are attributed by the first object.
const TASK_STORAGE: &str = "task-storage";
/// How they are by the second.
const TASK_HASH: &str = "task-hash";

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// One command, whose execs are counted.
    Command,
    /// Everything that runs, for weeks: what is told of grows with the facts, not with the work done,
    /// and who did it is to be known after it is gone.
    Agent {
        /// Up to which level the programs speak of themselves.
        log: LevelFilter,
    },
}

impl Purpose {
    /// An agent's whose programs are silent.
    pub const AGENT: Self = Self::Agent {
        log: LevelFilter::OFF,
    };

    fn is_agent(self) -> bool {
        matches!(self, Self::Agent { .. })
    }

    /// Up to which level the programs speak of themselves.
    pub(super) fn log(self) -> LevelFilter {
        match self {
            Self::Command => LevelFilter::OFF,
            Self::Agent { log } => log,
        }
    }
}

/// The programs as this process has loaded them. They are gone when this is dropped, but for those that
/// something else holds.
pub(super) struct Loaded {
    pub ebpf: Ebpf,
    /// What keeps the programs attached.
    pub links: Links,
    /// What supplies each kind of fact, or why nothing does.
    hooks: BTreeMap<Fact, Result<Hook, String>>,
    attribution: &'static str,
    /// As [`Programs::new`] has it.
    pub may_skip: bool,
}

impl Loaded {
    /// Loads and attaches the best tier of each kind of fact.
    ///
    /// # Errors
    /// [`ProbeError`] if not even calls can be observed; a hook that is refused otherwise is in
    /// [`Loaded::hooks`] with its reason.
    pub(super) fn load(
        sizes: &Sizes,
        forced: &[Forced],
        purpose: Purpose,
    ) -> Result<Self, ProbeError> {
        let (kernel, loader) = Running::read()?;
        // A kernel without task storage for tracing programs refuses the first object's sys_enter.
        match Self::load_object(TASK_STORAGE, loader, sizes, forced, purpose, &kernel) {
            Err(ProbeError::NoSyscalls(_) | ProbeError::Load(_)) => {
                let loader = EbpfLoader::new();
                Self::load_object(TASK_HASH, loader, sizes, forced, purpose, &kernel)
            }
            other => other,
        }
    }

    /// Loads the variant that keeps task state in a hash, as kernels before 5.13 need it.
    ///
    /// # Errors
    /// As [`Loaded::load`].
    pub(super) fn load_with_task_hash(
        sizes: &Sizes,
        forced: &[Forced],
    ) -> Result<Self, ProbeError> {
        let (kernel, loader) = Running::read()?;
        let purpose = Purpose::Command;
        Self::load_object(TASK_HASH, loader, sizes, forced, purpose, &kernel)
    }

    /// Loads the variant that keeps task state in the kernel's task storage, and no other.
    ///
    /// # Errors
    /// As [`Loaded::load`].
    pub(super) fn load_with_task_storage(sizes: &Sizes) -> Result<Self, ProbeError> {
        let (kernel, loader) = Running::read()?;
        let purpose = Purpose::Command;
        Self::load_object(TASK_STORAGE, loader, sizes, &[], purpose, &kernel)
    }

    fn load_object(
        attribution: &'static str,
        loader: EbpfLoader<'static>,
        sizes: &Sizes,
        forced: &[Forced],
        purpose: Purpose,
        kernel: &Running,
    ) -> Result<Self, ProbeError> {
        let paths = u32::from(paths_at_exit(forced));
        let preemption = Preemption::of_this_kernel();
        let skips = preemption.map(Preemption::skips_programs);
        // What is not known may be.
        let may_skip = skips.unwrap_or(true);
        let skipping = u32::from(may_skip);
        let agent = u32::from(purpose.is_agent());
        let command = 1 - agent;
        let log = kernel_log::number(purpose.log());
        // What it is given lives shorter.
        let mut loader: EbpfLoader<'_> = loader;
        loader.btf(Some(&kernel.btf));
        // aya 0.14 does not know task storage; only the kernel side uses it.
        loader.allow_unsupported_maps();
        for (name, offset) in &kernel.offsets {
            // Each object lacks the constants that only the other uses.
            loader.override_global(name, offset, false);
        }
        loader.override_global("AYA_LOG_LEVEL", &log, false);
        loader.override_global("PATHS_AT_EXIT", &paths, true);
        loader.override_global("SKIPS_PROGRAMS", &skipping, true);
        loader.override_global("EXECS_ONCE", &agent, true);
        loader.override_global("FOLLOW_TASKS", &command, true);
        loader.override_global("KEEP_CGROUP_PATHS", &agent, true);
        loader.override_global("COUNTED_SLOTS", &sizes.counted_slots, true);
        let burst = sizes.share.map_or(0, |share| u64::from(share.at_once));
        let interval = sizes.share.map_or(0, |share| {
            1_000_000_000 / u64::from(share.per_second.max(1))
        });
        loader.override_global("SHARE_BURST", &burst, true);
        loader.override_global("SHARE_INTERVAL", &interval, true);
        let slots = u64::from(sizes.slots);
        loader.override_global("SLOT_COUNT", &slots, true);
        let cgroups = u64::from(sizes.cgroups);
        loader.override_global("CGROUP_COUNT", &cgroups, true);
        let paths = u64::from(sizes.cgroup_paths);
        loader.override_global("CGROUP_PATH_COUNT", &paths, true);
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
            ("SHARES", sizes.payers()),
            ("RETURNED", sizes.payers()),
            ("CGROUP_PATHS", sizes.cgroup_paths),
            ("ONCE", sizes.once),
            ("EVENTS", sizes.ring),
            ("COUNTS", sizes.counted_slots.max(1)),
        ] {
            loader.map_max_entries(map, entries);
        }
        if attribution == TASK_HASH {
            loader.map_max_entries("TASKS", sizes.tasks);
        }
        let object = if attribution == TASK_HASH {
            HASH_OBJECT
        } else {
            STORAGE_OBJECT
        };
        let mut attached = Self {
            ebpf: loader.load(object).map_err(refused)?,
            links: Links::new(),
            hooks: BTreeMap::new(),
            attribution,
            may_skip,
        };
        attached.fill_slots(sizes.slots)?;
        attached.attach(forced, &kernel.btf, skips)?;
        Ok(attached)
    }

    fn fill_slots(&mut self, slots: u32) -> Result<(), ProbeError> {
        let map = self.ebpf.map_mut("FREE_SLOTS");
        let mut free: Queue<_, u32> = Queue::try_from(map.ok_or_else(|| missing("FREE_SLOTS"))?)?;
        for slot in 0..slots {
            free.push(slot, 0)?;
        }
        Ok(())
    }

    fn attach(
        &mut self,
        forced: &[Forced],
        btf: &AyaBtf,
        skips: Option<bool>,
    ) -> Result<(), ProbeError> {
        let is_forced = |fact| forced.iter().any(|forced| forced.fact == fact);
        let is_wanted = |fact| fact != Fact::SkippedCalls || is_forced(fact) || skips == Some(true);
        let unwanted = if skips.is_none() {
            NOT_SEEN
        } else {
            NOT_SKIPPED
        };
        let plan = tiers::plan(forced);
        let wanted = plan.iter().filter(|(fact, _)| is_wanted(*fact));
        let wanted = wanted.map(|(_, hooks)| hooks.as_slice());
        let mut ready = load_side_by_side(&mut self.ebpf, wanted, btf);
        for (fact, hooks) in plan.iter().rev() {
            let supplied = if is_wanted(*fact) {
                self.attach_first(hooks, btf, &mut ready)
            } else {
                Err(unwanted.to_owned())
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
                Ok(links) => {
                    self.links.extend(links);
                    return Ok(*hook);
                }
                Err(refusal) => refusals.push(refusal.to_string()),
            }
        }
        Err(if hooks.is_empty() {
            "turned off".to_owned()
        } else {
            refusals.join("; ")
        })
    }

    /// The programs that are attached.
    ///
    /// # Errors
    /// [`ProbeError`] if there are too many descriptors.
    pub(super) fn programs(&self) -> Result<Programs, ProbeError> {
        let mut programs = Programs::new(self.may_skip);
        for (name, _) in &self.links {
            let program = self
                .ebpf
                .program(name)
                .and_then(|program| program.fd().ok());
            let descriptor = program.ok_or_else(|| missing(name))?;
            programs
                .insert_copy(name, descriptor)
                .map_err(|error| ProbeError::System("the programs cannot be held", error))?;
        }
        Ok(programs)
    }

    /// Whether the copies of the programs on calls could still be attached.
    pub(super) fn has_spare(&self) -> bool {
        matches!(self.hooks.get(&Fact::SkippedCalls), Some(Err(reason)) if reason == NOT_SEEN)
    }

    /// Attaches them.
    ///
    /// # Errors
    /// [`ProbeError`] if the kernel's types cannot be read.
    pub(super) fn attach_spare(&mut self) -> Result<(), ProbeError> {
        let btf = AyaBtf::from_sys_fs().map_err(|error| ProbeError::Load(error.into()))?;
        let supplied = self.attach_first(tiers::tiers(Fact::SkippedCalls), &btf, &mut Ready::new());
        self.hooks.insert(Fact::SkippedCalls, supplied);
        Ok(())
    }

    /// What supplies each kind of fact, or why nothing does; and how tasks are attributed.
    pub(super) fn hooks(&self) -> BTreeMap<String, String> {
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
