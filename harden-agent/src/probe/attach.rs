//! One hook: loading its program, attaching it, and what the kernel says when it refuses.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt, io, thread,
};

use anyhow::Chain;
use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FExit, Lsm, Program, ProgramError, RawTracePoint, links::FdLink},
};

use super::{
    lsm,
    tiers::{Attach, Hook, Point},
};

/// The kernel did not take a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The hook's name, as [`Hook::name`] has it.
    pub hook: String,
    /// The error number, where a system call failed.
    pub errno: Option<i32>,
    /// What the kernel said, in one line.
    pub reason: String,
    /// The verifier's whole log; empty where it never ran.
    pub log: String,
}

impl Refusal {
    fn without_errno(hook: Hook, reason: String) -> Self {
        Self {
            hook: hook.name(),
            errno: None,
            reason,
            log: String::new(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.hook, self.reason)
    }
}

impl Error for Refusal {}

/// What keeps programs attached, by the name of the program.
pub(super) type Links = Vec<(&'static str, FdLink)>;

/// Programs that are loaded and not attached yet.
pub(super) type Ready = BTreeSet<&'static str>;

/// Has the kernel verify programs side by side: that is what takes the time. Of `hooks`, those of each fact, the first of a kind
/// that the kernel takes. What it refuses all the same it refuses again, with its reasons, when it is to be attached.
pub(super) fn load_side_by_side<'a>(
    ebpf: &mut Ebpf,
    hooks: impl Iterator<Item = &'a [Hook]>,
    btf: &Btf,
) -> Ready {
    let mut takes_lsm = None;
    let mut is_likely = |hook: &&Hook| match hook.attach {
        Attach::RawTracepoint | Attach::BtfTracepoint => true,
        Attach::Lsm => *takes_lsm.get_or_insert_with(|| try_kind(ebpf, **hook, btf).is_ok()),
        // Never the first choice where the others are taken.
        Attach::Fexit => false,
    };
    let wanted: BTreeMap<&str, Point> = hooks
        .filter_map(|hooks| hooks.iter().find(&mut is_likely))
        .flat_map(|hook| hook.points)
        .map(|point| (point.program, *point))
        .collect();
    thread::scope(|scope| {
        let programs = ebpf.programs_mut();
        let loads: Vec<_> = programs
            .filter_map(|(name, program)| Some((*wanted.get(name)?, program)))
            .map(|(point, program)| {
                scope.spawn(move || {
                    let loaded = match program {
                        Program::RawTracePoint(program) => program.load(),
                        Program::BtfTracePoint(program) => program.load(point.target, btf),
                        Program::Lsm(program) => program.load(point.target, btf),
                        _ => return None,
                    };
                    loaded.ok().map(|()| point.program)
                })
            })
            .collect();
        let loaded = loads.into_iter().filter_map(|load| load.join().ok()?);
        loaded.collect()
    })
}

/// Loads and attaches the programs of `hook`, all or none. They stay attached until the links are
/// dropped. A program that is attached already, for another fact, is left as it is.
///
/// # Errors
/// [`Refusal`] with what the kernel said.
pub(super) fn attach_one(
    ebpf: &mut Ebpf,
    hook: Hook,
    btf: &Btf,
    ready: &mut Ready,
) -> Result<Links, Refusal> {
    let new: Vec<Point> = hook
        .points
        .iter()
        .copied()
        .filter(|point| ready.contains(point.program) || !is_loaded(ebpf, *point))
        .collect();
    let links = new.iter().map(|point| {
        if !ready.remove(point.program) {
            load(ebpf, hook, *point, btf)?;
        }
        Ok((point.program, attach(ebpf, hook, *point)?))
    });
    let result: Result<Links, Refusal> = links.collect();
    if result.is_err() {
        for point in new {
            unload(ebpf, point.program);
        }
    }
    result
}

/// Has the kernel verify the program of `point`, without attaching it.
///
/// # Errors
/// [`Refusal`] with what the verifier said.
pub(super) fn load(ebpf: &mut Ebpf, hook: Hook, point: Point, btf: &Btf) -> Result<(), Refusal> {
    try_kind(ebpf, hook, btf)?;
    verify(ebpf, hook, point, btf)
}

/// Whether the kernel takes programs of the kind of `hook` at all: one that refuses it is spared the rest.
fn try_kind(ebpf: &mut Ebpf, hook: Hook, btf: &Btf) -> Result<(), Refusal> {
    if hook.attach == Attach::Lsm {
        lsm::has_bpf().map_err(|reason| Refusal::without_errno(hook, reason))?;
    }
    if let Some(any) = any_of_its_kind(hook.attach) {
        verify(ebpf, hook, any, btf)?;
        unload(ebpf, any.program);
    }
    Ok(())
}

/// A program of the same kind that does nothing.
fn any_of_its_kind(attach: Attach) -> Option<Point> {
    let (target, program) = match attach {
        Attach::RawTracepoint | Attach::BtfTracepoint => return None,
        Attach::Lsm => ("file_open", "any_lsm"),
        Attach::Fexit => ("security_file_open", "any_fexit"),
    };
    Some(Point { target, program })
}

fn verify(ebpf: &mut Ebpf, hook: Hook, point: Point, btf: &Btf) -> Result<(), Refusal> {
    with_program(ebpf, hook, point, |program| match hook.attach {
        Attach::RawTracepoint => TryInto::<&mut RawTracePoint>::try_into(program)?.load(),
        Attach::BtfTracepoint => {
            TryInto::<&mut BtfTracePoint>::try_into(program)?.load(point.target, btf)
        }
        Attach::Lsm => TryInto::<&mut Lsm>::try_into(program)?.load(point.target, btf),
        Attach::Fexit => TryInto::<&mut FExit>::try_into(program)?.load(point.target, btf),
    })
}

/// Attaches the program of `point`, which was loaded before, for as long as the link is there.
///
/// # Errors
/// [`Refusal`] with what the kernel said.
fn attach(ebpf: &mut Ebpf, hook: Hook, point: Point) -> Result<FdLink, Refusal> {
    with_program(ebpf, hook, point, |program| match hook.attach {
        Attach::RawTracepoint => {
            let program: &mut RawTracePoint = program.try_into()?;
            let link = program.attach(point.target)?;
            program.take_link(link).map(Into::into)
        }
        Attach::BtfTracepoint => {
            let program: &mut BtfTracePoint = program.try_into()?;
            let link = program.attach()?;
            program.take_link(link).map(Into::into)
        }
        Attach::Lsm => {
            let program: &mut Lsm = program.try_into()?;
            let link = program.attach()?;
            program.take_link(link).map(Into::into)
        }
        Attach::Fexit => {
            let program: &mut FExit = program.try_into()?;
            let link = program.attach()?;
            program.take_link(link).map(Into::into)
        }
    })
}

fn is_loaded(ebpf: &Ebpf, point: Point) -> bool {
    ebpf.program(point.program)
        .is_some_and(|program| program.fd().is_ok())
}

/// Takes a program out again.
pub(super) fn unload(ebpf: &mut Ebpf, program: &str) {
    let Some(program) = ebpf.program_mut(program) else {
        return;
    };
    // That it was not loaded is no matter.
    let _ = match program {
        Program::Lsm(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::RawTracePoint(program) => program.unload(),
        Program::BtfTracePoint(program) => program.unload(),
        _ => Ok(()),
    };
}

fn with_program<T>(
    ebpf: &mut Ebpf,
    hook: Hook,
    point: Point,
    act: impl FnOnce(&mut Program) -> Result<T, ProgramError>,
) -> Result<T, Refusal> {
    let Some(program) = ebpf.program_mut(point.program) else {
        let reason = format!("the object has no program {}", point.program);
        return Err(Refusal::without_errno(hook, reason));
    };
    act(program).map_err(|error| refusal(hook, &error))
}

fn refusal(hook: Hook, error: &ProgramError) -> Refusal {
    let log = match error {
        ProgramError::LoadError { verifier_log, .. } => verifier_log.to_string(),
        _ => String::new(),
    };
    let reason = match error {
        ProgramError::LoadError { io_error, .. } => {
            format!(
                "{io_error}, {}",
                complaint(&log).unwrap_or("no verifier log")
            )
        }
        other => chain(other),
    };
    Refusal {
        hook: hook.name(),
        errno: errno(error),
        reason,
        log,
    }
}

/// The verifier's complaint: the last line before the statistics.
fn complaint(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["verification time", "stack depth", "processed"];
    log.lines()
        .rfind(|line| !STATISTICS.iter().any(|start| line.starts_with(start)))
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = Chain::new(error).map(ToString::to_string).collect();
    texts.join(": ")
}

fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    Chain::new(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .find_map(io::Error::raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::{chain, complaint, errno};
    use std::io;

    #[test]
    fn the_complaint_stands_before_the_statistics() {
        let log = "0: r0 = 1\nR1 invalid mem access\nverification time 5 usec\nprocessed 1 insns";
        assert_eq!(complaint(log), Some("R1 invalid mem access"));
        assert_eq!(complaint(""), None);
    }

    #[test]
    fn the_number_is_found_behind_other_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(errno(&error), Some(libc::EPERM));
        assert_eq!(chain(&error), format!("outer: {}", error.0));
    }
}
