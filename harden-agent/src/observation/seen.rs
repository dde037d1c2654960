//! Evidence of a fact, in little room: there is one for each use of each path.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Evidence of a fact.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Seen {
    /// Nanoseconds since 1970. The least number is for none, and goes before all others.
    first: i64,
    /// One more than the number, so that none goes before all others, too.
    count: u64,
    errors: u64,
}

const NO_TIME: i64 = i64::MIN;

/// As the file has it.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// Schema 3 had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<u64>,
}

impl Seen {
    /// Where no more is known than that it was.
    pub const ONCE: Self = Self {
        first: NO_TIME,
        count: 0,
        errors: 0,
    };

    /// Seen first at this time. It reaches from 1677 to 2262; what lies outside becomes the end of that.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        let mut seen = Self::ONCE;
        let nanoseconds = time.as_nanosecond().max((NO_TIME + 1).into());
        seen.first = i64::try_from(nanoseconds).unwrap_or(i64::MAX);
        seen
    }

    /// When first, where that is known (the slot has the fact, its hint may have been lost).
    #[must_use]
    pub fn first(&self) -> Option<Timestamp> {
        let known = Some(self.first).filter(|first| *first != NO_TIME)?;
        Timestamp::from_nanosecond(known.into()).ok()
    }

    /// How often, where that was counted.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        self.count.checked_sub(1)
    }

    /// How often of that a call came back with an errno; `None` for never, too.
    #[must_use]
    pub fn errors(&self) -> Option<u64> {
        self.errors.checked_sub(1)
    }

    /// Puts these in the place of both numbers.
    pub fn set_counts(&mut self, count: Option<u64>, errors: Option<u64>) {
        let stored = |number: Option<u64>| number.map_or(0, |number| number.saturating_add(1));
        self.count = stored(count);
        self.errors = stored(errors);
    }

    /// The same, so often.
    #[must_use]
    pub fn counted(mut self, count: Option<u64>, errors: Option<u64>) -> Self {
        self.set_counts(count, errors);
        self
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self::ONCE
    }
}

impl super::Join for Seen {
    fn join(&mut self, other: Self) {
        // Taken apart in full, so that a new field without a law does not compile.
        let Self {
            first,
            count,
            errors,
        } = other;
        // Nothing known gives way to anything known.
        if first != NO_TIME && (self.first == NO_TIME || first < self.first) {
            self.first = first;
        }
        self.count = self.count.max(count);
        self.errors = self.errors.max(errors);
    }
}

impl From<Seen> for Written {
    fn from(seen: Seen) -> Self {
        Self {
            first: seen.first(),
            count: seen.count(),
            errors: seen.errors(),
        }
    }
}

impl TryFrom<Written> for Seen {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let seen = written.first.map(Self::at).unwrap_or_default();
        let seen = seen.counted(written.count, written.errors);
        if seen.first() != written.first {
            return Err("a time before 1677 or after 2262".to_owned());
        }
        if seen.count() != written.count || seen.errors() != written.errors {
            return Err("a number that nothing is counted up to".to_owned());
        }
        Ok(seen)
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("Seen");
        shown.field("first", &self.first());
        shown.field("count", &self.count());
        shown.field("errors", &self.errors()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Join as _;
    use super::*;

    #[test]
    fn evidence_joins_to_the_earliest_sight_and_the_greatest_count() {
        let seen = |second: Option<i64>, count| {
            let time = second.map(|second| Timestamp::new(second, 0).unwrap());
            time.map(Seen::at).unwrap_or_default().counted(count, None)
        };
        let mut evidence = seen(None, Some(3));
        evidence.join(seen(Some(20), None));
        evidence.join(seen(Some(10), Some(2)));
        assert_eq!(evidence, seen(Some(10), Some(3)));
    }

    #[test]
    fn what_has_no_room_is_an_error_and_the_rest_comes_back() {
        let back = |json: &str| {
            let seen: Seen = serde_json::from_str(json)?;
            serde_json::to_string(&seen)
        };
        for json in [
            "{}",
            r#"{"first":"1970-01-01T00:00:00Z","count":0}"#,
            r#"{"first":"1677-09-21T00:12:43.145224193Z"}"#,
            r#"{"first":"2262-04-11T23:47:16.854775807Z"}"#,
            r#"{"count":18446744073709551614,"errors":0}"#,
        ] {
            assert_eq!(back(json).unwrap(), json);
        }
        for json in [
            r#"{"first":"1677-09-21T00:12:43.145224192Z"}"#,
            r#"{"first":"9999-01-01T00:00:00Z"}"#,
            r#"{"count":18446744073709551615}"#,
            r#"{"errors":18446744073709551615}"#,
        ] {
            assert!(back(json).is_err(), "{json}");
        }
    }
}
