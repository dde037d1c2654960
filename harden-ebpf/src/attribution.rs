//! Which slot a task belongs to.
//!
//! A task belongs to the slot that it had when it last called exec; a fork inherits it. The state
//! of a task names the generation and the exec count for which it holds: on any mismatch, and when
//! there is none, the task is interned again. So the hooks on fork and exec make attribution fast
//! and exact, but nothing depends on them, and nothing has to be seeded.

use core::ptr;

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_cgroup_id, bpf_get_current_task},
    },
};
use harden_common::{
    Argument, ExecutableId, Loss, OBSERVED_PAYER, OBSERVED_RUN, PathOperation, RUN_PASSES,
    SLOT_EXCLUDED, SlotKey, kind, path_flag,
};

use crate::{
    emit::{self, lost, lost_of},
    kernel::{self, Address},
    log::log_slot,
    maps::{self, CGROUPS, FREE_SLOTS, GENERATION, SLOT_OF},
    paths,
    scratch::{self, Asked},
    shares,
    task_state::{self, Task},
    walk,
};

/// 1 where a program is told of once for each slot and name that exec was given, 0 where each exec
/// is.
#[unsafe(no_mangle)]
static EXECS_ONCE: Global<u32> = Global::new(0);

/// 1 where a task that has left the observed cgroups goes on being observed, as in a run of one command.
#[unsafe(no_mangle)]
static FOLLOW_TASKS: Global<u32> = Global::new(0);

/// What is kept per task.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TaskState {
    /// The exec count for which this holds.
    pub self_exec_id: u64,
    /// The cgroup as of exec.
    pub cgroup: u64,
    /// The program.
    pub executable: ExecutableId,
    /// [`SLOT_EXCLUDED`] for a task that nobody observes.
    pub slot: u32,
    /// The generation for which this holds.
    pub generation: u32,
    /// The call in progress, as [`crate::arch::Call::mark`] has it; 0 for none.
    pub call: u32,
    /// Bits of [`note`].
    pub notes: u32,
    /// The command that it belongs to, as [`SlotKey::command`] has it.
    pub command: u32,
    /// The capabilities granted during the call in progress, as [`harden_common::PathEvent::capabilities`] has them.
    pub capabilities: u32,
    /// `task_struct.start_boottime`: tells the task from an earlier one with the same thread id.
    /// Only the hash needs it.
    pub start: u64,
    /// The root of its paths when it entered its cgroup, as [`mount_root`] has it.
    pub root: u64,
}

/// Bits of [`TaskState::notes`].
pub mod note {
    /// `sys_enter` has run for this task: an exit without an entry is a refused call.
    pub const ENTERED: u32 = 1;
    /// It has run for the call in progress, and its copy has not.
    pub const FRESH: u32 = 2;
    /// The agent has not been told which program the slot is of.
    pub const UNTOLD: u32 = 4;
    /// Its paths have another root than [`super::TaskState::root`].
    pub const OTHER_ROOT: u32 = 8;
}

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
    let slot = intern(task, state, generation, 0);
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
        let slot = without_state() as u32;
        return (slot != SLOT_EXCLUDED).then_some(Current { task, slot, state });
    }
    // SAFETY: as in `current`; only its own task writes to it while it runs.
    let known = unsafe { &mut *state };
    let mut slot = known.slot;
    if slot == SLOT_EXCLUDED {
        return None;
    }
    if known.generation != generation() && !is_in_use(slot) {
        // The stack of a call's end has no room for `intern`, which is left for the next call: the generation
        // stays that of before.
        known.slot = SLOT_EXCLUDED;
        if assign(known) {
            known.notes |= note::UNTOLD;
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
///
/// A global function: verified once, and one number to its callers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn without_state() -> u64 {
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
        executable: walk::inode_id(executable_inode()),
        run,
        command: 0,
        other_root: 0,
    };
    // Where there is none, nobody observed it when the call began; else that was counted as a loss then.
    SLOT_OF
        .get_ptr(key)
        .map_or(u64::from(SLOT_EXCLUDED), |slot| {
            // SAFETY: as above.
            u64::from(unsafe { *slot })
        })
}

/// Whether `slot` still is what its record's key stands for. The agent takes the key away before it
/// raises the generation and waits for programs that run: so if it is there now, the slot is not
/// freed before we return.
#[inline(always)]
fn is_in_use(slot: u32) -> bool {
    let Some(record) = maps::record(slot) else {
        return false;
    };
    // SAFETY: pointers into the maps. A key that is being written is that of another owner.
    unsafe {
        let key = &(*record).key;
        match SLOT_OF.get_ptr(key) {
            Some(owner) => *owner == slot,
            None => false,
        }
    }
}

/// A task called exec.
#[inline(always)]
pub fn exec(binprm: Address) {
    let task = task_state::current();
    intern(task, task_state::get(task), generation(), binprm);
}

/// A task made another: `child` is not running yet.
#[inline(always)]
pub fn inherit(child: Task) {
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
pub fn forget() {
    task_state::forget(task_state::current());
}

#[inline(always)]
fn generation() -> u32 {
    GENERATION.get(0).copied().unwrap_or(0)
}

/// Finds or makes the slot of `task` (the current one), remembers it, and tells the agent of a new
/// program. `binprm` is 0 where exec is inferred.
#[inline(never)]
fn intern(task: Task, old: *mut TaskState, generation: u32, binprm: Address) -> u32 {
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
        generation,
        call: 0,
        notes: 0,
        command: 0,
        capabilities: 0,
        start: task_state::start(task),
        root: mount_root(),
    };
    let mut execed = binprm != 0;
    let mut untold = false;
    let (mut before, mut root) = (0, 0);
    if !old.is_null() {
        // SAFETY: as in `current`.
        unsafe {
            execed |= (*old).self_exec_id != self_exec_id;
            state.call = (*old).call;
            state.notes = (*old).notes & !(note::UNTOLD | note::OTHER_ROOT);
            state.capabilities = (*old).capabilities;
            untold = (*old).notes & note::UNTOLD != 0;
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
        state.executable = walk::inode_id(executable_inode());
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
    if state.slot != SLOT_EXCLUDED && (execed || born || untold) {
        tell(state.slot, binprm);
    }
    state.slot
}

/// The cgroup that a program begins in: the current task's, which was in the cgroup `before` and in `slot` when it last
/// called exec. One that has left the observed cgroups is followed or, where it is not, leaves a fact behind.
///
/// A global function: verified once, and one number to its callers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn entered_cgroup(before: u64, slot: u64) -> u64 {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_get_current_cgroup_id() };
    if slot == u64::from(SLOT_EXCLUDED) || now == before || CGROUPS.get_ptr(now).is_some() {
        return now;
    }
    emit::fact(slot as u32, Argument::LeftCgroup.fact());
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

/// What tells the root that the current task's paths begin at from another: the dentry that is mounted there, 0 if it
/// cannot be read. A copy of the mount namespace has the same, `pivot_root` and a container have others; chroot leaves it as
/// it is, as walks go up through it.
///
/// From the task's root up, the last mount that is reached through a directory of another. What is mounted on the root of
/// another hides that, as the root file system hides the kernel's own rootfs (fs/namespace.c, `init_mount_tree`).
///
/// A global function: verified once, and one number to its callers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn mount_root() -> u64 {
    /// Mounts in mounts that are followed.
    const DEPTH: usize = 8;
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let Some(vfsmount) = kernel::pointer(task, &kernel::TASK_FS).and_then(|fs| {
        let root = fs + u64::from(kernel::FS_ROOT.load());
        kernel::pointer(root, &kernel::PATH_MNT)
    }) else {
        return 0;
    };
    let inside = u64::from(kernel::MOUNT_VFSMOUNT.load());
    let mut mount = vfsmount.wrapping_sub(inside);
    let root_of = |mount: Address| kernel::pointer(mount + inside, &kernel::VFSMOUNT_ROOT);
    let mut root = root_of(mount).unwrap_or(0);
    for _ in 0..DEPTH {
        let Some(parent) = kernel::pointer(mount, &kernel::MOUNT_PARENT) else {
            return 0;
        };
        if parent == mount {
            return root;
        }
        let Some(mounted_on) = root_of(parent) else {
            return 0;
        };
        if kernel::pointer(mount, &kernel::MOUNT_MOUNTPOINT) != Some(mounted_on) {
            root = mounted_on;
        }
        mount = parent;
    }
    0
}

/// `cgroup`, in which the current task was observed in `slot`, as long as it is there. Once it is gone the
/// task has left it, and its slot was the last to know of it: then the task's own.
///
/// A global function: verified once, and one number to its callers.
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
///
/// A global function: verified once, and one number to its callers.
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
/// A function of its own: the key would lie on the stack of [`intern`] while a program is told of, and the
/// stacks of all that call each other have 512 bytes (kernel/bpf/verifier.c, `check_max_stack_depth`, 6.1).
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
    let (slot, born) = slot(&key, payer);
    state.slot = slot;
    if born && key.other_root != 0 {
        emit::fact(slot, Argument::OtherRoot.fact());
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

/// The key of a record that nobody owns.
const NOBODY: SlotKey = SlotKey {
    cgroup: 0,
    executable: ExecutableId {
        inode: 0,
        device: 0,
        generation: 0,
    },
    run: 0,
    command: 0,
    other_root: 0,
};

/// Finds or makes the slot for `key`, which `payer` pays for. Says whether it is new.
#[inline(always)]
fn slot(key: &SlotKey, payer: u64) -> (u32, bool) {
    if let Some(slot) = SLOT_OF.get_ptr(key) {
        // SAFETY: a pointer into the map, to one word.
        return (unsafe { *slot }, false);
    }
    let slot = take_number(payer) as u32;
    let Some(record) = maps::record(slot) else {
        return (SLOT_EXCLUDED, false);
    };
    // SAFETY: the number came from the queue, so nobody else has the record yet.
    unsafe {
        (*record).key = *key;
        (*record).payer = payer;
    }
    const BPF_NOEXIST: u64 = 1;
    if SLOT_OF.insert(key, slot, BPF_NOEXIST).is_ok() {
        shares::got_slot(payer);
        return (slot, true);
    }
    // Another CPU was first, or the map is full.
    give_back(u64::from(slot));
    match SLOT_OF.get_ptr(key) {
        // SAFETY: as above.
        Some(slot) => (unsafe { *slot }, false),
        None => {
            shares::no_slot(payer);
            (SLOT_EXCLUDED, false)
        }
    }
}

/// A slot number that was free, now that of its record; [`SLOT_EXCLUDED`] if there is none for `payer`. No record has
/// that index.
///
/// A global function, as the next one: verified once, and one number to its callers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn take_number(payer: u64) -> u64 {
    if shares::may_have_slot(payer) == 0 {
        return u64::from(SLOT_EXCLUDED);
    }
    let Ok(Some(slot)) = FREE_SLOTS.pop() else {
        shares::no_slot(payer);
        return u64::from(SLOT_EXCLUDED);
    };
    let Some(record) = maps::record(slot) else {
        lost(Loss::MapUpdate);
        return u64::from(SLOT_EXCLUDED);
    };
    // SAFETY: the number came from the queue, so nobody else has the record yet.
    unsafe { (*record).slot = slot };
    u64::from(slot)
}

/// Frees a number that did not get a key after all. None is left in its record: a key that is in no
/// table marks facts that are still to be taken.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn give_back(slot: u64) -> u64 {
    if let Some(record) = maps::record(slot as u32) {
        // SAFETY: the number came from the queue, and nobody else has the record yet.
        unsafe { (*record).key = NOBODY };
    }
    if FREE_SLOTS.push(slot as u32, 0).is_err() {
        lost(Loss::MapUpdate);
    }
    0
}

/// The file that `task` runs; `None` for a kernel thread.
#[inline(always)]
fn executable_file(task: Address) -> Option<Address> {
    let mm = kernel::pointer(task, &kernel::TASK_MM)?;
    kernel::pointer(mm, &kernel::MM_EXE_FILE)
}

/// The inode of the program that the current task runs, 0 if there is none.
///
/// A global function: verified once, and one number to its callers. It takes numbers only, which a
/// task is not to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn executable_inode() -> u64 {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let dentry = executable_file(task).and_then(|file| {
        let path = file + u64::from(kernel::FILE_PATH.load());
        kernel::pointer(path, &kernel::PATH_DENTRY)
    });
    dentry.map_or(0, walk::inode_of)
}

/// Sends which program the task runs now, and what exec was given.
#[inline(always)]
fn tell(slot: u32, binprm: Address) {
    scratch::with(slot, |level| {
        if let Some(scratch) = scratch::at(level) {
            // SAFETY: the scratch is ours until we return.
            unsafe {
                (*scratch).asked = Asked {
                    slot,
                    operation: PathOperation::Execute as u32,
                    argument: 0,
                    errno: 0,
                    text: binprm,
                    length: 0,
                    fd: walk::CWD,
                    capabilities: 0,
                    result: 0,
                    place: walk::Place::NOWHERE,
                };
            }
        }
        program_began(level);
    });
}

/// A global function (see [`scratch::with`]).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn program_began(level: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    // SAFETY: the scratch is ours until we return.
    let (event, asked) = unsafe { (&mut (*scratch).event, &(*scratch).asked) };
    walk::begin(event, kind::EXEC, asked);
    let mut text = 0;
    if asked.text != 0
        && let Some(name) = kernel::pointer(asked.text, &kernel::BINPRM_FILENAME)
    {
        text = walk::kernel_text(scratch, name);
    }
    walk::start(scratch, text);
    let program =
        executable_file(task).map_or(0, |file| file + u64::from(kernel::FILE_PATH.load()));
    if EXECS_ONCE.load() != 0 && program_told(level, program, 0) != 0 {
        return 0;
    }
    if program != 0 {
        walk::target(scratch, program);
        if event.inode.mode & 0o6000 != 0 {
            emit::fact(asked.slot, Argument::ExecSetid.fact());
        }
    }
    if text > 0 {
        walk::prefix(scratch, walk::base(scratch, task, 0));
    }
    if event.flags & path_flag::TRUNCATED != 0 {
        lost_of(asked.slot, Loss::WalkTruncated);
    }
    if walk::send(scratch).is_err() {
        lost_of(asked.slot, Loss::ExecRingFull);
        untold();
    } else if EXECS_ONCE.load() != 0 {
        program_told(level, program, 1);
    }
    0
}

/// Has the agent told of the current task's program when the task is next looked at.
#[inline(always)]
fn untold() {
    let state = task_state::get(task_state::current());
    if !state.is_null() {
        // SAFETY: as in `current`.
        unsafe { (*state).notes |= note::UNTOLD };
    }
}

/// Whether the agent was told of the program at `program`, a `struct path`, under the name that is in the
/// scratch; with `remember`, it is from now on.
///
/// A global function (see [`scratch::with`]).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn program_told(level: u64, program: Address, remember: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    // SAFETY: the helper has no preconditions; the scratch is the caller's own.
    let (task, text) = unsafe { (bpf_get_current_task(), (*scratch).event.text_length) };
    let directory = if text == 0 {
        // SAFETY: as above.
        unsafe { (*scratch).hash = 0 };
        walk::Place::NOWHERE
    } else {
        walk::base(scratch, task, 0)
    };
    let key = paths::key(scratch, walk::place(program), directory);
    if remember != 0 {
        emit::remember(&key);
    }
    u32::from(emit::is_known(&key))
}
