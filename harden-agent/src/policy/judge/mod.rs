//! The matcher: what a file means for a recorded fact. Allowed by which lines, refused by which line, or not judged and
//! why; and the other way round, which facts a line is needed for.
//!
//! ```text
//! decisions ─► said ──┐
//!                     ├─► Rules (typed lines) ─► Judge ──┐
//! text of a file ─► read ┘                               ├─► Judgement
//! observation ─► Recorded ─► Case (a fact and its run) ──┘
//! ```
//!
//! - [`Rules`] are the lines of one file, typed: a directive, and of a list each element. They come from decisions
//!   ([`firejail::said`] and its like) or from text ([`firejail::read`]), and are the same in both cases. What a reader
//!   does not take it hands back ([`Unread`]): nothing is passed over in silence.
//! - [`Recorded`] is an observation with what a fact alone does not say: where a path leads, what the program made itself.
//! - [`Judge`] holds look-up tables made of the rules once, so that a fact costs as much as its path is deep, however many
//!   lines there are.
//! - [`Judgement`] names lines. A list is a line, and each element is one: `caps.keep chown` is what lets a program change
//!   owners, and the line `caps.keep` is what refuses it `CAP_NET_ADMIN`.
//!
//! The semantics are those of what enforces the file: Firejail 0.9.72, systemd 252, and libseccomp under a runtime. Three
//! laws hold (`profile/judged/laws.rs`): all that was recorded and not left out is allowed; without a line, exactly what rests on it
//! alone is refused; and a file that was written and read judges as what was decided.
//!
//! Not judged, and why: what asks for nothing (a question about a capability, a call that was refused each time); what no
//! line that harden writes is about (socket types); and what depends on more than one fact, such as a rename between two
//! mounts, a socket that another process made, or the user whose process lies behind a number in /proc.

mod capability;
pub mod check;
pub mod firejail;
pub mod groups;
mod judgement;
mod limits;
mod line;
mod list;
pub mod oci;
mod pattern;
mod recorded;
pub mod source;
mod supports;
mod surroundings;
pub mod systemd;
#[cfg(test)]
mod tests;
mod trap;
mod uses;

pub use self::{
    judgement::{Ground, Judgement, Refusal, Unjudged},
    line::{Line, Read, Rules, Said, Sandbox, Shape, Unread},
    recorded::{Case, Recorded},
    supports::Supports,
    surroundings::Surroundings,
    trap::Trap,
};

/// A file, ready to judge.
pub enum Judge<'r> {
    /// A Firejail profile.
    Firejail(Box<firejail::Firejail<'r>>),
    /// A systemd drop-in.
    Systemd(Box<systemd::Systemd<'r>>),
    /// The file of an OCI container.
    Oci(Box<oci::Oci<'r>>),
}

impl<'r> Judge<'r> {
    /// Of a file.
    #[must_use]
    pub fn new(rules: &'r Rules, around: &Surroundings) -> Self {
        match rules.sandbox() {
            Sandbox::Firejail => Self::Firejail(Box::new(firejail::Firejail::new(rules, around))),
            Sandbox::Systemd => Self::Systemd(Box::new(systemd::Systemd::new(rules, around))),
            Sandbox::Oci => Self::Oci(Box::new(oci::Oci::new(rules, around))),
        }
    }

    /// What the file means for a fact.
    #[must_use]
    pub fn judge(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        match self {
            Self::Firejail(judge) => judge.judge(case),
            Self::Systemd(judge) => judge.judge(case),
            Self::Oci(judge) => judge.judge(case),
        }
    }
}
