//! The kernel's records of calls that seccomp filters did not simply allow (`type=1326`): lines of any log → what was
//! called, by which program of which unit, and what to allow. Plain data: `machine` reads the logs, `cli` prints.
//!
//! A record names a process. Which unit that belonged to is asked elsewhere, and given back to [`Findings::new`].

mod action;
mod architecture;
mod fields;
pub mod finding;
mod heads;
pub mod intake;
mod journal;
mod loss;
mod piece;
pub mod proposal;
pub mod record;
#[cfg(test)]
mod tests;
pub mod unseen;

pub use self::{
    action::Action,
    architecture::{Call, Convention},
    finding::{Finding, Findings, Joined, Joint, Program},
    intake::{Event, Events, Intake, Taken, Times},
    journal::{FIELDS, Seen, unit_of_process},
    loss::Losses,
    piece::{OVERLAP, Part, Piece},
    proposal::{Known, NotProposed, Proposed},
    record::{Line, Process, Record},
    unseen::{LogState, Unseen},
};
