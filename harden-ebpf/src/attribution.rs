//! Which slot a task belongs to.
//!
//! A task belongs to the slot that it had when it last called exec; a fork inherits it. The state
//! of a task names the generation and the exec count for which it holds: on any mismatch, and when
//! there is none, the task is interned again. So the hooks on fork and exec make attribution fast
//! and exact, but nothing depends on them, and nothing has to be seeded.

use core::ptr;

use aya_ebpf::{
    Global,
    btf_maps::Array,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_cgroup_id},
    macros::btf_map,
};
use harden_common::{
    Argument, ExecutableId, OBSERVED_PAYER, OBSERVED_RUN, RUN_PASSES, SLOT_EXCLUDED, SlotKey,
};

use crate::{
    arch::Call,
    cgroups::CGROUPS,
    exec, facts, inode,
    kernel::Address,
    log::log_slot,
    place, slots,
    task_state::{self, Task, TaskState, note},
};

/// One number, raised by the agent when a run begins or a cgroup comes under observation:
/// a task whose state has another one is attributed again.
#[btf_map]
static GENERATION: Array<u32, 1> = Array::new();

/// 1 where a task that has left the observed cgroups goes on being observed, as in a run of one command.
#[unsafe(no_mangle)]
static FOLLOW_TASKS: Global<u32> = Global::new(0);

/// The current task's place.
#[derive(Clone, Copy)]
pub struct Current {
    /// The task.
    pub task: Task,
    /// The slot.
    pub slot: u32,
    /// The task's state; null where the kernel could not give it just now.
    pub state: *mut TaskState,
}

impl Current {
    /// The call in progress.
    #[inline(always)]
    pub fn call(self) -> Option<Call> {
        if self.state.is_null() {
            return None;
        }
        // SAFETY: a whole value of the map.
        match unsafe { (*self.state).call } {
            0 => None,
            code => Some(Call::decode(code)),
        }
    }
}

/// The current task's slot, or `None` if nobody observes it.
#[inline(always)]
pub fn current() -> Option<Current> {
    let task = task_state::current();
    let state = task_state::get(task);
    let generation = generation();
    if !state.is_null() {
        // SAFETY: a non-null state is a whole value of the map; only its own task writes to it
        // (its parent does before it runs).
        let known = unsafe { &*state };
        if known.generation == generation && known.self_exec_id == task_state::self_exec_id(task) {
            let slot = known.slot;
            return (slot != SLOT_EXCLUDED).then_some(Current { task, slot, state });
        }
    }
    let slot = intern_and_report(generation, 0);
    if slot == SLOT_EXCLUDED {
        return None;
    }
    Some(Current {
        task,
        slot,
        state: task_state::get(task),
    })
}

/// The slot of the call that is coming back: that in which it was entered, whatever run has begun
/// since. Where that slot was freed meanwhile, as a daemon may wait for hours in one call, the one that the
/// task has now.
#[inline(always)]
pub fn returning() -> Option<Current> {
    let task = task_state::current();
    let state = task_state::get(task);
    if state.is_null() {
        let slot = slot_without_state() as u32;
        return (slot != SLOT_EXCLUDED).then_some(Current { task, slot, state });
    }
    // SAFETY: as in `current`; only its own task writes to it while it runs.
    let known = unsafe { &mut *state };
    let mut slot = known.slot;
    if slot == SLOT_EXCLUDED {
        return None;
    }
    if known.generation != generation() && !slots::is_in_use(slot) {
        // The stack of a call's end has no room for `intern`, which is left for the next call: the generation
        // stays that of before.
        known.slot = SLOT_EXCLUDED;
        if assign(known) {
            known.notes |= note::EXEC_UNREPORTED;
        }
        slot = known.slot;
        if slot == SLOT_EXCLUDED {
            return None;
        }
    }
    Some(Current { task, slot, state })
}

/// The slot of the current task while there is no state of it, because the table of tasks is full or its
/// storage is busy: its leader's, else the one that [`intern`] gave it when its call began. None is made:
/// the stack of a call's end has no room for that.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn slot_without_state() -> u64 {
    let task = task_state::current();
    let leader = of_leader(task, task_state::self_exec_id(task));
    if !leader.is_null() {
        // SAFETY: as in `of_leader`; one word.
        return u64::from(unsafe { (*leader).slot });
    }
    // SAFETY: the helper has no preconditions.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    let Some(observed) = CGROUPS.get_ptr(cgroup) else {
        return u64::from(SLOT_EXCLUDED);
    };
    // SAFETY: a pointer into the map; a run number is one word.
    let run = unsafe { (*observed)[OBSERVED_RUN] };
    if run & RUN_PASSES != 0 {
        return u64::from(SLOT_EXCLUDED);
    }
    let key = SlotKey {
        cgroup,
        executable: inode::id(exec::executable_inode()),
        run,
        command: 0,
        other_root: 0,
    };
    // Where there is none, nobody observed it when the call began; else that was counted as a loss then.
    slots::find(&key).map_or(u64::from(SLOT_EXCLUDED), u64::from)
}

/// A task called exec.
#[inline(always)]
pub fn on_exec(binprm: Address) {
    intern_and_report(generation(), binprm);
}

/// A task made another: `child` is not running yet.
#[inline(always)]
pub fn on_fork(child: Task) {
    let state = task_state::get(task_state::current());
    if !state.is_null() {
        // SAFETY: as in `current`.
        let mut copy = unsafe { *state };
        copy.start = task_state::start(child);
        // On failure the child heals itself from its leader or its own cgroup and program.
        task_state::put(child, &copy);
    }
}

/// A thread ends: its state is not needed any more.
#[inline(always)]
pub fn on_thread_exit() {
    task_state::forget(task_state::current());
}

#[inline(always)]
fn generation() -> u32 {
    GENERATION.get(0).copied().unwrap_or(0)
}

/// Finds or makes the slot of the current task, and reports a new program. `binprm` is 0 where exec is inferred.
#[inline(always)]
fn intern_and_report(generation: u32, binprm: Address) -> u32 {
    let found = intern(u64::from(generation), u64::from(binprm != 0));
    if found & REPORT != 0 {
        exec::report(found as u32, binprm);
    }
    found as u32
}

/// Beside the number of a slot: its program is to be reported.
const REPORT: u64 = 1 << 32;

/// Finds or makes the slot of the current task, and remembers it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn intern(generation: u64, has_execed: u64) -> u64 {
    let task = task_state::current();
    let old = task_state::get(task);
    let self_exec_id = task_state::self_exec_id(task);
    let mut state = TaskState {
        self_exec_id,
        cgroup: 0,
        executable: ExecutableId {
            inode: 0,
            device: 0,
            generation: 0,
        },
        slot: SLOT_EXCLUDED,
        generation: generation as u32,
        call: 0,
        notes: 0,
        command: 0,
        capabilities: 0,
        start: task_state::start(task),
        root: place::mount_root(),
    };
    let mut execed = has_execed != 0;
    let mut unreported = false;
    let (mut before, mut root) = (0, 0);
    if !old.is_null() {
        // SAFETY: as in `current`.
        unsafe {
            execed |= (*old).self_exec_id != self_exec_id;
            state.call = (*old).call;
            state.notes = (*old).notes & !(note::EXEC_UNREPORTED | note::OTHER_ROOT);
            if (*old).slot == SLOT_EXCLUDED {
                // The call in progress, such as the exec that brings a daemon into its slot, began unseen.
                state.notes &= !note::ENTERED;
            }
            state.capabilities = (*old).capabilities;
            unreported = (*old).notes & note::EXEC_UNREPORTED != 0;
            state.command = (*old).command;
            before = (*old).cgroup;
            root = (*old).root;
            state.slot = (*old).slot;
        }
    }
    let known = if execed {
        ptr::null_mut()
    } else if old.is_null() {
        of_leader(task, self_exec_id)
    } else {
        old
    };
    if known.is_null() {
        state.cgroup = entered_cgroup(before, u64::from(state.slot));
        state.executable = inode::id(exec::executable_inode());
        state.command = command(before, state.cgroup, u64::from(state.command)) as u32;
    } else {
        // SAFETY: as in `current`.
        unsafe {
            let cgroup = (*known).cgroup;
            root = (*known).root;
            state.cgroup = present_cgroup(cgroup, u64::from((*known).slot));
            state.executable = (*known).executable;
            // In a cgroup that it has not entered by exec, nobody knows what it belongs to.
            state.command = if state.cgroup == cgroup {
                (*known).command
            } else {
                0
            };
        }
    }
    // Whatever enters a cgroup by exec begins with the root that it has there: a service with a root directory of its own, a
    // container's systemd. What changes its root later leaves the paths that the unit's others have.
    if root != 0
        && state.root != 0
        && state.root != root
        && (state.cgroup == before || !known.is_null())
    {
        state.root = root;
        state.notes |= note::OTHER_ROOT;
    }
    state.slot = SLOT_EXCLUDED;
    let born = assign(&mut state);
    if born {
        log_slot(u64::from(state.slot), state.cgroup, state.executable.inode);
    }
    task_state::put(task, &state);
    if state.slot != SLOT_EXCLUDED && (execed || born || unreported) {
        u64::from(state.slot) | REPORT
    } else {
        u64::from(state.slot)
    }
}

/// The cgroup that a program begins in: the current task's, which was in the cgroup `before` and in `slot` when it last
/// called exec. One that has left the observed cgroups is followed or, where it is not, leaves a fact behind.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn entered_cgroup(before: u64, slot: u64) -> u64 {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_get_current_cgroup_id() };
    if slot == u64::from(SLOT_EXCLUDED) || now == before || CGROUPS.get_ptr(now).is_some() {
        return now;
    }
    facts::set(slot as u32, Argument::LeftCgroup.fact());
    if FOLLOW_TASKS.load() != 0 {
        before
    } else {
        now
    }
}

/// Has the current task's next call find out where it belongs: this one changes the root of its paths.
#[inline(always)]
pub fn look_again() {
    let state = task_state::get(task_state::current());
    if !state.is_null() {
        // SAFETY: as in `current`. Any other generation but the present one does.
        unsafe { (*state).generation = generation().wrapping_sub(1) };
    }
}

/// `cgroup`, in which the current task was observed in `slot`, as long as it is there. Once it is gone the
/// task has left it, and its slot was the last to know of it: then the task's own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn present_cgroup(cgroup: u64, slot: u64) -> u64 {
    if slot == u64::from(SLOT_EXCLUDED) || CGROUPS.get_ptr(cgroup).is_some() {
        return cgroup;
    }
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_cgroup_id() }
}

/// The command that begins to run a program: another, if it was in another cgroup `before`, when it last
/// called exec; 0 if that is not known. Else the one that it belongs to, `known`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn command(before: u64, now: u64, known: u64) -> u64 {
    if before == 0 || before == now {
        return known;
    }
    bpf_get_current_pid_tgid() >> 32
}

/// Gives `state` the slot for what it says, if its cgroup is observed. Says whether that is new.
///
#[inline(never)]
fn assign(state: &mut TaskState) -> bool {
    let Some(observed) = CGROUPS.get_ptr(state.cgroup) else {
        return false;
    };
    // SAFETY: a pointer into the map, to two words.
    let (run, payer) = unsafe { ((*observed)[OBSERVED_RUN], (*observed)[OBSERVED_PAYER]) };
    if run & RUN_PASSES != 0 {
        return false;
    }
    let key = SlotKey {
        cgroup: state.cgroup,
        executable: state.executable,
        run,
        command: state.command,
        other_root: u32::from(state.notes & note::OTHER_ROOT != 0),
    };
    let (slot, born) = slots::find_or_make(&key, payer);
    state.slot = slot;
    if born && key.other_root != 0 {
        facts::set(slot, Argument::OtherRoot.fact());
    }
    born
}

/// The state of the thread group's leader, if it holds for this task too: a thread whose own state
/// is missing runs the same program. NULL otherwise.
#[inline(always)]
fn of_leader(task: Task, self_exec_id: u64) -> *mut TaskState {
    let state = task_state::of_leader(task);
    // SAFETY: as in `current`, but another task's: it may be changing. Then its exec count does not
    // match ours, as exec leaves a process with one thread.
    if !state.is_null() && unsafe { (*state).self_exec_id } == self_exec_id {
        state
    } else {
        ptr::null_mut()
    }
}
