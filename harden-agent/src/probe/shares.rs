//! What each payer has used of the kernel side's tables.

use std::collections::BTreeMap;

use aya::maps::{HashMap, MapData, MapError};
use harden_common::{ALL_PAYERS, Loss, RETURNED_NAMES, RETURNED_SLOTS, Returned, ShareRecord};

use super::{Probe, ProbeError, maps::unless_absent};

/// A [`ShareRecord`] as it lies in the map.
type Record = [u64; size_of::<ShareRecord>() / size_of::<u64>()];

/// What is to be counted once slots are free.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shares {
    /// How many have come back, by payer.
    returned: BTreeMap<u64, u64>,
    /// Payers that are gone: nothing is used by them any more.
    gone: Vec<u64>,
}

/// What has come back of what was `given`, where there is no more than `held`, so much for each payer.
///
/// `given` is to be older than `held`: what is given out between counts as held once too often until this is done again,
/// and never as free.
fn returned(given: u64, payer: u64, held: &BTreeMap<u64, u64>) -> u64 {
    let held = match payer {
        ALL_PAYERS => held.values().sum(),
        _ => held.get(&payer).copied().unwrap_or(0),
    };
    given.saturating_sub(held)
}

impl Shares {
    /// What is so once there are no slots but those of `held`, so many for each payer: of the slots that were `given`,
    /// those that are not among them have come back. Payers that hold none are gone, where they are not `there`.
    fn of(
        given: &BTreeMap<u64, u64>,
        held: &BTreeMap<u64, u64>,
        is_there: impl Fn(u64) -> bool,
    ) -> Self {
        let mut shares = Self::default();
        for (payer, given) in given {
            if *payer == ALL_PAYERS || held.contains_key(payer) || is_there(*payer) {
                let returned = returned(*given, *payer, held);
                shares.returned.insert(*payer, returned);
            } else {
                shares.gone.push(*payer);
            }
        }
        shares
    }
}

impl Probe {
    /// How many programs of each payer got no slot, how many cgroups below it are not observed, and of how many the paths
    /// were not kept, by the kind of loss.
    ///
    /// # Errors
    /// [`ProbeError`] if the table cannot be read.
    pub fn refused(&self) -> Result<BTreeMap<u64, BTreeMap<&'static str, u64>>, ProbeError> {
        let mut refused: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (payer, share) in self.shares()? {
            let kinds = [
                (Loss::SlotsExhausted, share.refused),
                (Loss::CgroupsFull, share.refused_cgroups),
                (Loss::CgroupNamesFull, share.unnamed),
            ];
            for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
                let name = Loss::ALL[kind as usize].1;
                refused.entry(payer).or_default().insert(name, count);
            }
        }
        Ok(refused)
    }

    /// How many slots each payer was given so far.
    pub(super) fn given(&self) -> Result<BTreeMap<u64, u64>, ProbeError> {
        let shares = self.shares()?.into_iter();
        Ok(shares.map(|(payer, share)| (payer, share.given)).collect())
    }

    fn shares(&self) -> Result<BTreeMap<u64, ShareRecord>, ProbeError> {
        let shares: HashMap<_, u64, Record> = HashMap::try_from(self.maps.get("SHARES")?)?;
        let shares = shares.iter().map(|entry| {
            let (
                payer,
                [
                    whole,
                    given,
                    refused,
                    cgroups,
                    refused_cgroups,
                    named,
                    unnamed,
                ],
            ) = entry?;
            let share = ShareRecord {
                whole,
                given,
                refused,
                cgroups,
                refused_cgroups,
                named,
                unnamed,
            };
            Ok((payer, share))
        });
        shares.collect::<Result<_, MapError>>().map_err(Into::into)
    }

    /// Remembers what is to be counted once the slots are free that are neither free nor among the `held`, so many for
    /// each payer. `given` as [`Self::given`] had it before.
    pub(super) fn count_later(
        &mut self,
        given: &BTreeMap<u64, u64>,
        held: &BTreeMap<u64, u64>,
        is_there: impl Fn(u64) -> bool,
    ) {
        self.shares = Shares::of(given, held, is_there);
    }

    /// They are free.
    pub(super) fn count_returned(&mut self) -> Result<(), ProbeError> {
        let Shares { returned, gone } = std::mem::take(&mut self.shares);
        self.write_returned(RETURNED_SLOTS, &returned)?;
        self.count_names()?;
        let mut counts = self.returned_mut()?;
        for payer in &gone {
            unless_absent(counts.remove(payer))?;
        }
        let mut shares: HashMap<_, u64, Record> = HashMap::try_from(self.maps.get_mut("SHARES")?)?;
        for payer in &gone {
            unless_absent(shares.remove(payer))?;
        }
        Ok(())
    }
}

impl Probe {
    /// Counts the paths of cgroups that were forgotten since the last time.
    fn count_names(&mut self) -> Result<(), ProbeError> {
        if !std::mem::take(&mut self.has_forgotten) {
            return Ok(());
        }
        let named = self.shares()?;
        let held = self.names_held()?;
        let returned = named.into_iter().map(|(payer, share)| {
            let returned = returned(share.named, payer, &held);
            (payer, returned)
        });
        let returned = returned.collect();
        self.write_returned(RETURNED_NAMES, &returned)
    }

    fn write_returned(
        &mut self,
        what: usize,
        returned: &BTreeMap<u64, u64>,
    ) -> Result<(), ProbeError> {
        let mut counts = self.returned_mut()?;
        for (payer, count) in returned {
            let mut all = counts.get(payer, 0).unwrap_or_default();
            if all[what] != *count {
                all[what] = *count;
                counts.insert(payer, all, 0)?;
            }
        }
        Ok(())
    }

    fn returned_mut(&mut self) -> Result<HashMap<&mut MapData, u64, Returned>, ProbeError> {
        Ok(HashMap::try_from(self.maps.get_mut("RETURNED")?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_are_not_held_have_come_back() {
        let given = BTreeMap::from([(ALL_PAYERS, 20), (5, 10), (6, 4), (7, 6)]);
        // One was given to 6 after that was read.
        let held = BTreeMap::from([(5, 3), (6, 5)]);
        let shares = Shares::of(&given, &held, |payer| payer == 6);
        assert_eq!(
            shares.returned,
            BTreeMap::from([(ALL_PAYERS, 12), (5, 7), (6, 0)])
        );
        assert_eq!(shares.gone, [7]);
    }

    #[test]
    fn a_payer_that_holds_nothing_stays_while_it_is_there() {
        let given = BTreeMap::from([(ALL_PAYERS, 1), (5, 1)]);
        let shares = Shares::of(&given, &BTreeMap::new(), |_| true);
        assert_eq!(shares.returned, given);
        assert!(shares.gone.is_empty());
    }
}
