//! What does not work at this moment, and which limits have had an effect.

use std::collections::{BTreeMap, BTreeSet};

use super::chain;
use crate::observation::Text;

/// What `harden status` says of the agent itself.
#[derive(Default)]
pub(super) struct Health {
    /// What does not work, by what it is about.
    faults: BTreeMap<&'static str, String>,
    /// What limits of `[state]` have had an effect, by option.
    limits: BTreeMap<&'static str, String>,
    /// Units whose records had no room for all of them.
    shrunk: BTreeSet<Text>,
}

/// What the units' files are called in errors.
pub(super) const STATE_DIRECTORY: &str = "state directory";

impl Health {
    /// Says that something does not work; recording goes on meanwhile.
    pub(super) fn fails(&mut self, what: &'static str, error: &(dyn std::error::Error + 'static)) {
        let text = chain(error);
        match self.faults.insert(what, text.clone()) {
            None => tracing::error!("{what}: {text}; recording goes on in memory"),
            // One line for a disk that is full, not one for each file that does not fit on it.
            Some(before) if before != text => tracing::debug!("{what}: {text}"),
            Some(_) => {}
        }
    }

    /// Says that it works again.
    pub(super) fn works(&mut self, what: &'static str) {
        if self.faults.remove(what).is_some() {
            tracing::info!("{what}: works again, and what was kept in memory is written");
        }
    }

    /// Whether the units' files can be written.
    pub(super) fn can_store(&self) -> bool {
        !self.faults.contains_key(STATE_DIRECTORY)
    }

    /// Notes that one of the limits of `[state]` has had an effect.
    pub(super) fn limited(&mut self, option: &'static str, what: String) {
        if !self.limits.contains_key(option) {
            tracing::warn!("state.{option}: {what}");
        }
        self.limits.insert(option, what);
    }

    /// Notes that a unit's record had no room for all of it.
    pub(super) fn was_shrunk(&mut self, unit: &Text) {
        const SHOWN: usize = 3;
        if self.shrunk.insert(unit.clone()) {
            tracing::warn!(
                "{unit}: its record has no room for all of it: names are kept as their directories, and old runs as one; a larger \
                 state.max_per_unit or state.max_total helps, and then harden forget, and to record it again"
            );
        }
        let units: Vec<String> = self
            .shrunk
            .iter()
            .take(SHOWN)
            .map(Text::to_string)
            .collect();
        let more = match self.shrunk.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let what = format!("no room for all of {}{more}", units.join(", "));
        self.limits.insert("max_per_unit", what);
    }

    /// There is room again.
    pub(super) fn forget_limits(&mut self) {
        self.limits.clear();
        self.shrunk.clear();
    }

    /// What does not work, a line each.
    pub(super) fn errors(&self) -> impl Iterator<Item = String> {
        let faults = self.faults.iter();
        faults.map(|(what, text)| format!("{what}: {text}"))
    }

    /// The limits that have had an effect, a line each.
    pub(super) fn limits(&self) -> impl Iterator<Item = String> {
        let limits = self.limits.iter();
        limits.map(|(option, what)| format!("state.{option}: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_fails_is_shown_until_it_works() {
        let mut health = Health::default();
        health.fails("journal", &io::Error::other("full"));
        assert!(health.can_store());
        health.fails(STATE_DIRECTORY, &io::Error::other("full"));
        assert!(!health.can_store());
        health.works("journal");
        let errors: Vec<String> = health.errors().collect();
        assert_eq!(errors, ["state directory: full"]);
    }

    #[test]
    fn units_that_were_shrunk_are_named_and_not_all_of_many() {
        let mut health = Health::default();
        for number in 0..5 {
            health.was_shrunk(&format!("{number}.service").into());
            health.was_shrunk(&format!("{number}.service").into());
        }
        let limits: Vec<String> = health.limits().collect();
        let expected =
            "state.max_per_unit: no room for all of 0.service, 1.service, 2.service and 2 more";
        assert_eq!(limits, [expected]);
        health.forget_limits();
        assert_eq!(health.limits().count(), 0);
    }
}
