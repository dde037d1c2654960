//! A record and its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use harden_common::{ExecutableId, SlotKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observation::{ControlCommand, Host, RunKind, Text, Word};

/// The largest record, in bytes: a command line is 2 MiB at most, and may take five times that in
/// JSON.
pub const RECORD_LIMIT: u32 = 16 << 20;

/// One thing that the agent learnt. Applying it twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Record {
    /// From here on, the records are of this loaded kernel side.
    Instance {
        /// A UUID.
        id: Word,
        /// The machine's boot (`/proc/sys/kernel/random/boot_id`): cgroup ids and times are of it.
        boot: Word,
        /// When it was loaded.
        started: Timestamp,
        /// The machine.
        host: Host,
        /// Which hook supplies which kind of fact.
        hooks: BTreeMap<String, String>,
    },
    /// A cgroup.
    #[serde(skip)]
    Cgroup {
        /// Its id: the inode number of its directory.
        id: u64,
        /// Its parent's.
        parent: u64,
        /// When it was made, nanoseconds of `CLOCK_MONOTONIC`.
        born: u64,
        /// Its path below the cgroup root.
        path: Vec<u8>,
    },
    /// A cgroup is no more.
    #[serde(skip)]
    Gone {
        /// Its id.
        cgroup: u64,
        /// When, nanoseconds of `CLOCK_MONOTONIC`.
        time: u64,
    },
    /// Whose a slot is.
    #[serde(skip)]
    Slot {
        /// The slot's number, the count of its owners included.
        slot: u32,
        /// What it belongs to.
        owner: Owner,
    },
    /// An item of the ring buffer, as it is.
    #[serde(skip)]
    Item(Vec<u8>),
    /// What a slot's record held.
    #[serde(skip)]
    Final {
        /// The slot's number.
        slot: u32,
        /// The numbers of the facts that were set.
        facts: Vec<u16>,
    },
    /// A run began that somebody marked, or the clock cut.
    Run {
        /// The number that the kernel side knows it by.
        number: u64,
        /// Its identifier in the observation.
        id: Word,
        /// Which of the two.
        kind: RunKind,
        /// The mark's name.
        label: Option<Text>,
        /// The unit that it is of, `None` for all.
        unit: Option<Text>,
        /// When, nanoseconds of `CLOCK_MONOTONIC`.
        time: u64,
    },
    /// The invocation that a cgroup is of.
    Invocation {
        /// The cgroup.
        cgroup: u64,
        /// Its identifier in the observation.
        id: Word,
        /// systemd's `INVOCATION_ID`.
        invocation: Option<Word>,
    },
    /// The unit was started again in the cgroup of its last invocation, of which processes are left
    /// (`KillMode=process`).
    Again {
        /// The cgroup.
        cgroup: u64,
        /// The new invocation's identifier in the observation.
        id: Word,
        /// systemd's `INVOCATION_ID`.
        invocation: Word,
        /// When, nanoseconds of `CLOCK_MONOTONIC`.
        time: u64,
        /// The commands that had entered by then, as [`Record::Command`] has them: they are of the invocations
        /// before.
        before: BTreeSet<u32>,
    },
    /// Which of a unit's commands a process is.
    Command {
        /// The unit's cgroup.
        cgroup: u64,
        /// The thread group id by which it entered.
        command: u32,
        /// Which command, `None` for the main process.
        role: Option<ControlCommand>,
        /// Its command line.
        argv: Vec<Text>,
        /// The user that it was started as.
        uid: Option<u32>,
    },
    /// The main process of a cgroup's unit has ended.
    Ended {
        /// The cgroup.
        cgroup: u64,
        /// How, as [`crate::observation::Run::status`].
        status: Option<i32>,
    },
    /// What confines the invocation in a cgroup already.
    Filtered {
        /// The cgroup.
        cgroup: u64,
        /// As [`crate::observation::Run::filters`].
        filters: BTreeSet<Word>,
    },
    /// What could not be recorded so far on the whole machine, by kind.
    Losses {
        /// All of it.
        all: BTreeMap<Word, u64>,
        /// The part of it that may have been of any run.
        unowned: BTreeMap<Word, u64>,
        /// When it was counted, nanoseconds of `CLOCK_MONOTONIC`.
        time: u64,
    },
    /// What could not be recorded of a slot, by kind.
    Lost {
        /// The slot's number.
        slot: u32,
        /// All of it since the slot has this owner.
        losses: BTreeMap<Word, u64>,
    },
    /// What could not be recorded of a payer's units, see [`harden_common::ShareRecord`], by kind.
    LostOf {
        /// The payer's cgroup.
        payer: u64,
        /// All of it so far.
        losses: BTreeMap<Word, u64>,
        /// When it was counted, nanoseconds of `CLOCK_MONOTONIC`.
        time: u64,
    },
    /// What was recorded of a unit is dropped.
    Forget {
        /// The unit.
        unit: Text,
        /// The number of the run that began in it then: what comes of earlier ones is not wanted either.
        run: u64,
        /// Its file went then, and one that is there is younger.
        is_over: bool,
    },
}

/// What a slot belongs to: [`SlotKey`] in a form that does not change with the kernel side's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The cgroup.
    pub cgroup: u64,
    /// The program.
    pub executable: ExecutableId,
    /// The run's number.
    pub run: u64,
    /// The thread group id by which the command entered the cgroup, 0 where unknown.
    pub command: u32,
}

impl Owner {
    /// The owner in `key`, entered by `command`.
    #[must_use]
    pub fn new(key: &SlotKey, command: u32) -> Self {
        Self {
            cgroup: key.cgroup,
            executable: key.executable,
            run: key.run,
            command,
        }
    }
}

/// The first byte of a record. A number is never given a second meaning.
mod tag {
    pub(super) const ITEM: u8 = 1;
    pub(super) const FINAL: u8 = 2;
    pub(super) const SLOT: u8 = 3;
    pub(super) const CGROUP: u8 = 4;
    pub(super) const GONE: u8 = 5;
    /// What is rare, as JSON.
    pub(super) const RARE: u8 = 6;
}

/// The bytes of a [`Record::Item`].
pub(super) fn encode_item(item: &[u8], out: &mut Vec<u8>) {
    out.push(tag::ITEM);
    out.extend_from_slice(item);
}

impl Record {
    /// A [`Record::Final`] of the bytes of a slot's facts.
    #[must_use]
    pub fn finals(slot: u32, facts: &[u8]) -> Self {
        let set = (0..).zip(facts).filter(|(_, byte)| **byte != 0);
        Self::Final {
            slot,
            facts: set.map(|(number, _)| number).collect(),
        }
    }

    /// Appends the record's bytes to `out`. Numbers are little endian.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Item(item) => encode_item(item, out),
            Self::Final { slot, facts } => {
                out.push(tag::FINAL);
                out.extend(slot.to_le_bytes());
                out.extend(facts.iter().flat_map(|fact| fact.to_le_bytes()));
            }
            Self::Slot { slot, owner } => {
                let Owner {
                    cgroup,
                    executable,
                    run,
                    command,
                } = owner;
                out.push(tag::SLOT);
                out.extend(slot.to_le_bytes());
                out.extend(cgroup.to_le_bytes());
                out.extend(executable.inode.to_le_bytes());
                out.extend(executable.device.to_le_bytes());
                out.extend(executable.generation.to_le_bytes());
                out.extend(run.to_le_bytes());
                out.extend(command.to_le_bytes());
            }
            Self::Cgroup {
                id,
                parent,
                born,
                path,
            } => {
                out.push(tag::CGROUP);
                out.extend(
                    [id, parent, born]
                        .map(|number| number.to_le_bytes())
                        .as_flattened(),
                );
                out.extend_from_slice(path);
            }
            Self::Gone { cgroup, time } => {
                out.push(tag::GONE);
                out.extend(
                    [cgroup, time]
                        .map(|number| number.to_le_bytes())
                        .as_flattened(),
                );
            }
            Self::Instance { .. }
            | Self::Run { .. }
            | Self::Invocation { .. }
            | Self::Again { .. }
            | Self::Command { .. }
            | Self::Ended { .. }
            | Self::Filtered { .. }
            | Self::Forget { .. }
            | Self::Losses { .. }
            | Self::Lost { .. }
            | Self::LostOf { .. } => {
                out.push(tag::RARE);
                serde_json::to_writer(out, self)?;
            }
        }
        Ok(())
    }

    /// The record that `bytes` are, if they are one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, mut rest) = bytes.split_first()?;
        let rest = &mut rest;
        let record = match *tag {
            tag::ITEM => Self::Item(std::mem::take(rest).to_vec()),
            tag::FINAL => {
                let slot = u32::from_le_bytes(take(rest)?);
                let (facts, odd) = std::mem::take(rest).as_chunks();
                if !odd.is_empty() {
                    return None;
                }
                let facts = facts.iter().copied().map(u16::from_le_bytes).collect();
                Self::Final { slot, facts }
            }
            tag::SLOT => Self::Slot {
                slot: u32::from_le_bytes(take(rest)?),
                owner: Owner {
                    cgroup: u64::from_le_bytes(take(rest)?),
                    executable: ExecutableId {
                        inode: u64::from_le_bytes(take(rest)?),
                        device: u32::from_le_bytes(take(rest)?),
                        generation: u32::from_le_bytes(take(rest)?),
                    },
                    run: u64::from_le_bytes(take(rest)?),
                    command: u32::from_le_bytes(take(rest)?),
                },
            },
            tag::CGROUP => Self::Cgroup {
                id: u64::from_le_bytes(take(rest)?),
                parent: u64::from_le_bytes(take(rest)?),
                born: u64::from_le_bytes(take(rest)?),
                path: std::mem::take(rest).to_vec(),
            },
            tag::GONE => Self::Gone {
                cgroup: u64::from_le_bytes(take(rest)?),
                time: u64::from_le_bytes(take(rest)?),
            },
            tag::RARE => serde_json::from_slice(std::mem::take(rest)).ok()?,
            _ => return None,
        };
        rest.is_empty().then_some(record)
    }
}

/// The next `N` bytes.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}
