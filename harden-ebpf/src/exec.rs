//! The program that a task runs: which file it is, and the event that says so.

use aya_ebpf::Global;
use harden_common::{Argument, Loss, PathOperation, kind};

use crate::{
    facts, inode,
    kernel::{self, Address},
    loss::lost_of,
    once, path_event,
    place::{Directory, Place},
    scratch::{self, Request},
    task_state::{self, note},
    text,
};

/// 1 where a program is reported once for each slot and name that exec was given, 0 where each exec is.
#[unsafe(no_mangle)]
static EXECS_ONCE: Global<u32> = Global::new(0);

/// The file that `task` runs; `None` for a kernel thread.
#[inline(always)]
fn executable_file(task: Address) -> Option<Address> {
    let mm = kernel::pointer(task, &kernel::TASK_MM)?;
    kernel::pointer(mm, &kernel::MM_EXE_FILE)
}

/// The inode of the program that the current task runs, 0 if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn executable_inode() -> u64 {
    let task = kernel::current_task();
    let dentry = executable_file(task).and_then(|file| {
        let path = file + u64::from(kernel::FILE_PATH.load());
        kernel::pointer(path, &kernel::PATH_DENTRY)
    });
    dentry.map_or(0, inode::of)
}

/// Reports which program the task runs now, and what exec was given.
#[inline(always)]
pub fn report(slot: u32, binprm: Address) {
    report_exec(u64::from(slot), binprm);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn report_exec(slot: u64, binprm: Address) -> u32 {
    let request = Request {
        text: binprm,
        ..Request::new(slot as u32, PathOperation::Execute)
    };
    scratch::with_request(request, |level| {
        emit_exec(level);
    });
    0
}

/// Sends the event of the exec that is requested.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn emit_exec(level: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    let task = kernel::current_task();
    // SAFETY: the scratch is ours until we return.
    let (event, request) = unsafe { (&mut (*scratch).event, &(*scratch).request) };
    path_event::begin(event, kind::EXEC, request);
    let mut text = 0;
    if request.text != 0
        && let Some(name) = kernel::pointer(request.text, &kernel::BINPRM_FILENAME)
    {
        text = text::read_kernel(scratch, name);
    }
    path_event::set_text_length(scratch, text);
    let program =
        executable_file(task).map_or(0, |file| file + u64::from(kernel::FILE_PATH.load()));
    if EXECS_ONCE.load() != 0 && was_exec_sent(level, program, 0) != 0 {
        return 0;
    }
    if program != 0 {
        path_event::add_target(scratch, Place::of_path(program));
        if event.inode.mode & 0o6000 != 0 {
            facts::set(request.slot, Argument::ExecSetid.fact());
        }
    }
    if text > 0 {
        path_event::add_prefix(scratch, text::base(scratch, 0).place);
    }
    if path_event::send(scratch).is_err() {
        lost_of(request.slot, Loss::ExecRingFull);
        mark_unreported();
    } else if EXECS_ONCE.load() != 0 {
        was_exec_sent(level, program, 1);
    }
    0
}

/// Has the current task's program reported when the task is next looked at.
#[inline(always)]
fn mark_unreported() {
    let state = task_state::get(task_state::current());
    if !state.is_null() {
        // SAFETY: a whole value of the map, written by its own task only.
        unsafe { (*state).notes |= note::EXEC_UNREPORTED };
    }
}

/// Whether it was sent that the program at `program`, a `struct path`, runs under the name that is in the scratch. With
/// `remember`, it was from now on.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn was_exec_sent(level: u64, program: Address, remember: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    // SAFETY: the scratch is the caller's own.
    let text = unsafe { (*scratch).event.text_length };
    let directory = if text == 0 {
        // SAFETY: as above.
        unsafe { (*scratch).hash = 0 };
        Directory::NONE
    } else {
        text::base(scratch, 0)
    };
    let key = once::key_of(scratch, Place::of_path(program), directory);
    if remember != 0 {
        once::remember(&key);
    }
    u32::from(once::is_known(&key))
}
