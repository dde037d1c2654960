//! What could not be recorded: kept whenever it grows, said now and then.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Core, CoreError, monotonic};
use crate::{
    agent::journal::Record,
    observation::{Text, Word},
    plural::were,
    probe::Losses,
};

/// A machine that loses something each second would fill the log with it.
const PAUSE: Duration = Duration::from_mins(10);

/// How the names of losses end that a full ring buffer has caused.
const RING_FULL: &str = "-ring-full";

/// What was said of losses.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// How many of a kind, and when.
    said: BTreeMap<Word, (u64, Instant)>,
    /// Events that this agent does not understand.
    pub unparsed: u64,
}

impl Reported {
    /// How many of a kind are to be told now, if any: of `count` in all, `before` of them an earlier process's.
    fn due(&mut self, kind: &Word, count: u64, before: u64, now: Instant) -> Option<u64> {
        let said = self.said.get(kind);
        let is_due = said.is_none_or(|(_, when)| now.duration_since(*when) >= PAUSE);
        let told = said.map_or(before, |(told, _)| *told);
        (count > told && is_due).then(|| {
            self.said.insert(kind.clone(), (count, now));
            count - told
        })
    }
}

impl Core {
    pub(super) fn count_losses(&mut self) -> Result<(), CoreError> {
        let Losses {
            mut all,
            mut unowned,
        } = self.probe.losses()?;
        for losses in [&mut all, &mut unowned] {
            let unparsed = self.losses.unparsed;
            if unparsed > 0 {
                losses.insert("unparsed-event".to_owned(), unparsed);
            }
        }
        let (losses, unowned) = (words(all), words(unowned));
        let known = self.state.losses();
        let now = Instant::now();
        let mut due = Vec::new();
        for (kind, count) in &losses {
            let before = known.get(kind).copied().unwrap_or(0);
            let new = self.losses.due(kind, *count, before, now);
            due.extend(new.map(|new| (kind.clone(), new)));
        }
        if losses != *known {
            self.take_losses(losses, unowned)?;
        }
        for (kind, new) in due {
            let units = self.whose(&kind);
            tracing::warn!(
                "{} lost ({kind}), {units}; `harden status` goes on counting",
                were(new, "event")
            );
        }
        Ok(())
    }

    fn take_losses(
        &mut self,
        all: BTreeMap<Word, u64>,
        unowned: BTreeMap<Word, u64>,
    ) -> Result<(), CoreError> {
        let known = self.state.losses();
        let is_more = |(kind, count): (&Word, &u64)| {
            kind.as_str().ends_with(RING_FULL) && known.get(kind).is_none_or(|known| known < count)
        };
        let was_full = all.iter().any(is_more);
        self.record(Record::Losses {
            all,
            unowned,
            time: monotonic(),
        });
        if was_full {
            // What has a place in a table is there, though nobody was told.
            self.sweep()?;
        }
        // So is what has a slot, and the slots say whose losses these were.
        self.adopt_slots()?;
        self.take_refused()
    }

    /// Programs that got no slot, and cgroups that are not observed, are no others' loss than their payer's.
    pub(super) fn take_refused(&mut self) -> Result<(), CoreError> {
        let refused = self.probe.refused()?;
        self.state
            .retain_payers(|payer| refused.contains_key(&payer));
        for (payer, refused) in refused {
            let named = refused.into_iter();
            let named = named.filter_map(|(kind, count)| Some((Word::new(kind).ok()?, count)));
            let losses: BTreeMap<Word, u64> = named.collect();
            if self.state.lost_of_payer(payer) != Some(&losses) {
                self.record(Record::LostOf {
                    payer,
                    losses,
                    time: monotonic(),
                });
            }
        }
        Ok(())
    }
}

impl Core {
    /// The units that have lost something of `kind`. Where no slot says so, those that may have, the likeliest first: those
    /// that did something since they were last written, and those of which nothing was recorded, perhaps for that.
    fn whose(&self, kind: &Word) -> String {
        let losers = self.state.losers(kind);
        if !losers.is_empty() {
            return format!("of {}", some(&losers));
        }
        let (active, silent) = (self.state.dirty(), self.state.silent());
        let silent = silent.into_iter().collect();
        let parts = if kind.as_str().ends_with(RING_FULL) {
            [active, silent]
        } else {
            // A table without room: what got in loses nothing.
            [silent, active]
        };
        let suspects = parts.concat();
        if suspects.is_empty() {
            return "of no unit that is known".to_owned();
        }
        format!("perhaps of {}", some(&suspects))
    }
}

fn words(losses: BTreeMap<String, u64>) -> BTreeMap<Word, u64> {
    let words = losses.into_iter();
    words
        .filter_map(|(kind, count)| Some((Word::new(kind).ok()?, count)))
        .collect()
}

/// `a.service, b.service and 3 others`
fn some(units: &[Text]) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> = units.iter().take(SHOWN).map(Text::to_string).collect();
    let names = names.join(", ");
    match units.len().saturating_sub(SHOWN) {
        0 => names,
        more => format!("{names} and {more} others"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_said_at_once_and_then_now_and_then() {
        let mut told = Reported::default();
        let kind = Word::new("path-ring-full").unwrap();
        let begin = Instant::now();
        // What an earlier process has said.
        assert_eq!(told.due(&kind, 5, 5, begin), None);
        assert_eq!(told.due(&kind, 7, 5, begin), Some(2));
        let soon = begin + Duration::from_secs(1);
        assert_eq!(told.due(&kind, 9, 7, soon), None);
        let other = Word::new("slots-exhausted").unwrap();
        assert_eq!(told.due(&other, 1, 0, soon), Some(1));
        let late = begin + PAUSE;
        assert_eq!(told.due(&kind, 9, 9, late), Some(2));
        assert_eq!(told.due(&kind, 9, 9, late + PAUSE), None);
    }

    #[test]
    fn the_units_of_a_loss_are_named_and_not_all_of_many() {
        let units = |count: usize| {
            let names = (0..count).map(|number| Text::from(format!("{number}.service\n")));
            some(&names.collect::<Vec<_>>())
        };
        assert_eq!(units(2), r"0.service\n, 1.service\n");
        assert!(units(10).ends_with(r", 7.service\n and 2 others"));
    }
}
