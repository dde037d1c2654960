//! The program that a task runs: which file it is, and the event that says so.

use aya_ebpf::{Global, helpers::generated::bpf_get_current_task};
use harden_common::{Argument, Loss, PathOperation, kind, path_flag};

use crate::{
    facts, inode,
    kernel::{self, Address},
    loss::lost_of,
    once, path_event,
    place::{self, Place},
    scratch::{self, Asked},
    task_state::{self, note},
    text,
};

/// 1 where a program is told of once for each slot and name that exec was given, 0 where each exec
/// is.
#[unsafe(no_mangle)]
static EXECS_ONCE: Global<u32> = Global::new(0);

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
pub extern "C" fn executable_inode() -> u64 {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let dentry = executable_file(task).and_then(|file| {
        let path = file + u64::from(kernel::FILE_PATH.load());
        kernel::pointer(path, &kernel::PATH_DENTRY)
    });
    dentry.map_or(0, inode::of)
}

/// Sends which program the task runs now, and what exec was given.
#[inline(always)]
pub fn tell(slot: u32, binprm: Address) {
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
                    fd: place::CWD,
                    capabilities: 0,
                    result: 0,
                    place: Place::NOWHERE,
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
    path_event::begin(event, kind::EXEC, asked);
    let mut text = 0;
    if asked.text != 0
        && let Some(name) = kernel::pointer(asked.text, &kernel::BINPRM_FILENAME)
    {
        text = text::kernel_text(scratch, name);
    }
    path_event::start(scratch, text);
    let program =
        executable_file(task).map_or(0, |file| file + u64::from(kernel::FILE_PATH.load()));
    if EXECS_ONCE.load() != 0 && program_told(level, program, 0) != 0 {
        return 0;
    }
    if program != 0 {
        path_event::target(scratch, program);
        if event.inode.mode & 0o6000 != 0 {
            facts::fact(asked.slot, Argument::ExecSetid.fact());
        }
    }
    if text > 0 {
        path_event::prefix(scratch, text::base(scratch, task, 0));
    }
    if event.flags & path_flag::TRUNCATED != 0 {
        lost_of(asked.slot, Loss::WalkTruncated);
    }
    if path_event::send(scratch).is_err() {
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
        Place::NOWHERE
    } else {
        text::base(scratch, task, 0)
    };
    let key = once::key(scratch, place::place(program), directory);
    if remember != 0 {
        once::remember(&key);
    }
    u32::from(once::is_known(&key))
}
