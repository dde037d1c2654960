//! What is kept of a task, and where: in task storage, or in a hash where the kernel has none for
//! tracing programs (before 5.13; then the thread id is the key).

use core::{ffi::c_void, ptr};

use harden_common::ExecutableId;

use crate::kernel::{TASK_GROUP_LEADER, TASK_SECCOMP_MODE, TASK_SELF_EXEC_ID, TASK_THREAD_STATUS};

/// A `struct task_struct *`.
pub type Task = Structure;

/// A pointer to a structure of the kernel that the verifier knows the type of, where there is task storage.
pub type Structure = *mut c_void;

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
    /// [`harden_common::SLOT_EXCLUDED`] for a task that nobody observes.
    pub slot: u32,
    /// The generation for which this holds.
    pub generation: u32,
    /// The call in progress, as [`crate::arch::Call::encode`] has it; 0 for none.
    pub call: u32,
    /// Bits of [`note`].
    pub notes: u32,
    /// The command that it belongs to, as [`harden_common::SlotKey::command`] has it.
    pub command: u32,
    /// The capabilities granted during the call in progress, as [`harden_common::PathEvent::capabilities`] has them.
    pub capabilities: u32,
    /// `task_struct.start_boottime`: tells the task from an earlier one with the same thread id.
    /// Only the hash needs it.
    pub start: u64,
    /// The root of its paths when it entered its cgroup, as [`crate::place::mount_root`] has it.
    pub root: u64,
}

/// Bits of [`TaskState::notes`].
pub mod note {
    /// `sys_enter` has run for this task: an exit without an entry is a refused call.
    pub const ENTERED: u32 = 1;
    /// It has run for the call in progress, and its copy has not.
    pub const ENTRY_UNCHECKED: u32 = 2;
    /// The event of its last exec was not sent.
    pub const EXEC_UNREPORTED: u32 = 4;
    /// Its paths have another root than [`super::TaskState::root`].
    pub const OTHER_ROOT: u32 = 8;
}

#[cfg(not(feature = "task-hash"))]
mod store {
    use core::ptr;

    use aya_ebpf::{
        Global,
        bindings::{BPF_F_NO_PREALLOC, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE},
        helpers::generated::{bpf_get_current_task_btf, bpf_task_storage_get},
        macros::btf_map,
    };

    use super::{Structure, Task, TaskState};

    /// The map definition as the loader reads it from BTF; aya-ebpf 0.2 has no type for it.
    #[repr(C)]
    pub struct TaskStorage {
        r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
        key: *const i32,
        value: *const TaskState,
        max_entries: *const [i32; 0],
        map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
    }

    // SAFETY: the fields are a type-level description; nothing ever reads through them.
    unsafe impl Sync for TaskStorage {}

    #[btf_map]
    static TASKS: TaskStorage = TaskStorage {
        r#type: ptr::null(),
        key: ptr::null(),
        value: ptr::null(),
        max_entries: ptr::null(),
        map_flags: ptr::null(),
    };

    /// `BPF_LOCAL_STORAGE_GET_F_CREATE`
    const CREATE: u64 = 1;

    #[inline(always)]
    fn map() -> *mut core::ffi::c_void {
        (&raw const TASKS).cast_mut().cast()
    }

    #[inline(always)]
    pub fn current() -> Task {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_get_current_task_btf() }.cast()
    }

    /// NULL if there is none, and now and then while another CPU holds the storage's lock (6.1).
    #[inline(always)]
    pub fn get(task: Task) -> *mut TaskState {
        // SAFETY: `task` is a pointer that the verifier knows for a task.
        unsafe { bpf_task_storage_get(map(), task.cast(), ptr::null_mut(), 0) }.cast()
    }

    /// The member at `offset` of `structure`, a pointer that [`current`] or [`follow`] returned: the verifier knows its type.
    #[inline(always)]
    pub fn member<T: Copy + Default>(structure: Structure, offset: &Global<u32>) -> T {
        // SAFETY: a load through a typed pointer with a frozen offset, which the verifier checks against BTF.
        unsafe {
            let address = structure.cast::<u8>().add(offset.load() as usize);
            address.cast::<T>().read_volatile()
        }
    }

    /// The same for a pointer to another structure.
    #[inline(always)]
    pub fn follow(structure: Structure, offset: &Global<u32>) -> Structure {
        // SAFETY: as in `member`.
        unsafe {
            let address = structure.cast::<u8>().add(offset.load() as usize);
            address.cast::<Structure>().read_volatile()
        }
    }

    #[inline(always)]
    pub fn put(task: Task, state: &TaskState) {
        // SAFETY: as in `get`; the initial value is a whole TaskState on our stack.
        let kept: *mut TaskState = unsafe {
            bpf_task_storage_get(
                map(),
                task.cast(),
                ptr::from_ref(state).cast_mut().cast(),
                CREATE,
            )
        }
        .cast();
        if !kept.is_null() {
            // SAFETY: a whole value of the map. It may have been there before.
            unsafe { *kept = *state };
        }
    }

    /// The kernel frees the storage with its task.
    #[inline(always)]
    pub fn forget(_: Task) {}

    /// Not needed: storage belongs to its task.
    #[inline(always)]
    pub fn start(_: Task) -> u64 {
        0
    }
}

#[cfg(feature = "task-hash")]
mod store {
    use core::ptr;

    use aya_ebpf::{
        Global, btf_maps::HashMap, helpers::generated::bpf_get_current_task, macros::btf_map,
    };
    use harden_common::Loss;

    use super::{Structure, Task, TaskState};
    use crate::{
        kernel::{self, Address, TASK_PID, TASK_START_BOOTTIME},
        loss::lost_of,
    };

    #[btf_map]
    static TASKS: HashMap<u32, TaskState, 65536> = HashMap::new();

    #[inline(always)]
    pub fn current() -> Task {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_get_current_task() as Task }
    }

    #[inline(always)]
    fn tid(task: Task) -> u32 {
        kernel::read(task as Address, &TASK_PID).unwrap_or(0)
    }

    #[inline(always)]
    pub fn get(task: Task) -> *mut TaskState {
        let Some(state) = TASKS.get_ptr_mut(tid(task)) else {
            return ptr::null_mut();
        };
        // SAFETY: a whole value of the map. An entry is written by its own task, or by the parent
        // before that runs.
        if unsafe { (*state).start } == start(task) {
            state
        } else {
            ptr::null_mut()
        }
    }

    /// The member at `offset` of `structure`; 0 if it is not mapped.
    #[inline(always)]
    pub fn member<T: Copy + Default>(structure: Structure, offset: &Global<u32>) -> T {
        kernel::read(structure as Address, offset).unwrap_or_default()
    }

    /// The same for a pointer to another structure.
    #[inline(always)]
    pub fn follow(structure: Structure, offset: &Global<u32>) -> Structure {
        kernel::read::<Address>(structure as Address, offset).unwrap_or(0) as Structure
    }

    #[inline(always)]
    pub fn put(task: Task, state: &TaskState) {
        if TASKS.insert(tid(task), state, 0).is_err() {
            lost_of(state.slot, Loss::TasksFull);
        }
    }

    #[inline(always)]
    pub fn forget(task: Task) {
        let _ = TASKS.remove(tid(task));
    }

    #[inline(always)]
    pub fn start(task: Task) -> u64 {
        kernel::read(task as Address, &TASK_START_BOOTTIME).unwrap_or(0)
    }
}

pub use store::*;

/// The state of the leader of the thread group that `task` is in.
#[inline(always)]
pub fn of_leader(task: Task) -> *mut TaskState {
    let leader = follow(task, &TASK_GROUP_LEADER);
    if leader.is_null() {
        return ptr::null_mut();
    }
    get(leader)
}

/// How often the task has called exec.
#[inline(always)]
pub fn self_exec_id(task: Task) -> u64 {
    member(task, &TASK_SELF_EXEC_ID)
}

/// `thread_info.status` of the task.
#[inline(always)]
pub fn thread_status(task: Task) -> u32 {
    member(task, &TASK_THREAD_STATUS)
}

/// Whether a seccomp filter looks at the task's calls.
#[inline(always)]
pub fn is_filtered(task: Task) -> bool {
    member::<u32>(task, &TASK_SECCOMP_MODE) != 0
}
