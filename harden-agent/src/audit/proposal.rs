//! Whether a call is proposed for the list of a unit, and why not.

use std::collections::BTreeSet;
use std::fmt;

use super::action::Action;
use super::finding::{Finding, Joint, Program};
use crate::observation::{Abi, Text, Word};
use crate::policy::Overrides;

/// What is known of a unit besides.
#[derive(Debug, Default)]
pub struct Known {
    /// The programs that are its own: those of its commands, and those that were observed.
    pub programs: BTreeSet<Text>,
    /// Whether it asks systemd to log calls that nothing refuses (`SystemCallLog=`).
    pub logs_calls: bool,
    /// What was decided before.
    pub overrides: Overrides,
}

/// A call to allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The call.
    pub call: Word,
    /// What to look at first.
    pub remark: Option<&'static str>,
}

/// Why nothing is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotProposed {
    /// It is not known of which unit the process was.
    NoUnit,
    /// The program is not known.
    NoProgram,
    /// The program is none of the unit's.
    OtherProgram,
    /// A 32-bit or x32 call.
    Secondary,
    /// An architecture whose calls harden has no table of.
    Architecture,
    /// A number that no call has.
    NoCall,
    /// Somebody else than a list has answered.
    Answered,
    /// The record does not say what happened.
    NoAction,
    /// The unit has it logged, and nothing refuses it.
    OnlyLogged,
    /// The user's overrides deny it.
    Denied,
    /// The user's overrides allow it already.
    Allowed,
}

impl fmt::Display for NotProposed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NoUnit => {
                "the logs do not say which unit this was; if it is one that was observed, name the observation \
                 (--observation)"
            }
            Self::NoProgram => "the record does not say which program this was",
            Self::OtherProgram => {
                "this program is neither in a command of the unit nor in an observation of it: find out who started it"
            }
            Self::Secondary => {
                "32-bit and x32 calls are refused or allowed all together (seccomp.block-secondary, \
                 SystemCallArchitectures=): record the program again if it needs them"
            }
            Self::Architecture => "harden has no names for the calls of this architecture",
            Self::NoCall => "no call that harden knows has this number",
            Self::Answered => "another program has answered the call, not a list of calls",
            Self::NoAction => "the record does not say whether the call was refused",
            Self::OnlyLogged => "nothing refused the call: the unit has SystemCallLog=",
            Self::Denied => "your overrides deny this call",
            Self::Allowed => {
                "your overrides allow this call: write the files again, and start the unit with them"
            }
        })
    }
}

/// What to do about a finding; `known` is of its unit.
///
/// # Errors
/// Nothing, for this reason.
pub fn decide(finding: &Finding, known: Option<&Known>) -> Result<Proposed, NotProposed> {
    let (Some(joined), Some(known)) = (&finding.joined, known) else {
        return Err(NotProposed::NoUnit);
    };
    let Program::File(program) = &finding.program else {
        return Err(NotProposed::NoProgram);
    };
    if !known.programs.contains(program) {
        return Err(NotProposed::OtherProgram);
    }
    let call = &finding.call;
    match call.convention.abi() {
        Some(Abi::Native) => {}
        Some(Abi::Ia32 | Abi::X32) => return Err(NotProposed::Secondary),
        None => return Err(NotProposed::Architecture),
    }
    if !call.is_named {
        return Err(NotProposed::NoCall);
    }
    match finding.action {
        Action::UserNotif | Action::Trace => return Err(NotProposed::Answered),
        Action::Unknown => return Err(NotProposed::NoAction),
        Action::Log if known.logs_calls => return Err(NotProposed::OnlyLogged),
        _ => {}
    }
    if known.overrides.deny.syscalls.contains(&call.name) {
        return Err(NotProposed::Denied);
    }
    if known.overrides.allow.syscalls.contains(&call.name) {
        return Err(NotProposed::Allowed);
    }
    Ok(Proposed {
        call: call.name.clone(),
        remark: remark(finding.action, joined.how),
    })
}

fn remark(action: Action, how: Joint) -> Option<&'static str> {
    match (action, how) {
        (_, Joint::Command) => Some(
            "only the path of the program says that it is this unit: the same program may have run elsewhere",
        ),
        (Action::Log, _) => Some("the call was not refused; a list that does not log refuses it"),
        _ => None,
    }
}
