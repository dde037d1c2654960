//! `--since WHEN`.

use std::str::FromStr;

use jiff::{Timestamp, civil, tz::TimeZone};

/// A moment: `2h` ago, a date and time of this machine's, or one that says its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since(pub Timestamp);

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let ago = || {
            Timestamp::now()
                .checked_sub(humantime::parse_duration(text).ok()?)
                .ok()
        };
        let seconds = || Timestamp::from_second(text.strip_prefix('@')?.parse().ok()?).ok();
        let zoned = || text.parse().ok();
        let local = || {
            let time: civil::DateTime = text.parse().ok()?;
            TimeZone::system().to_timestamp(time).ok()
        };
        let found = ago().or_else(seconds).or_else(zoned).or_else(local);
        found.map(Self).ok_or_else(|| {
            "a duration such as 2h, a date, a date and time such as 2026-11-30 10:00, or @SECONDS is wanted"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_people_write_them() {
        let since = |text: &str| text.parse::<Since>().map(|since| since.0.as_second());
        assert_eq!(since("@1428331621"), Ok(1_428_331_621));
        assert_eq!(since("2015-04-06T14:47:01Z"), Ok(1_428_331_621));
        assert_eq!(since("2015-04-06T10:47:01-04:00"), Ok(1_428_331_621));
        let ago = Timestamp::now().as_second() - since("2h").unwrap();
        assert!((7200..7260).contains(&ago), "{ago}");
        let hour = since("2026-11-30 10:00").unwrap() - since("2026-11-30").unwrap();
        assert_eq!(hour, 36_000);
        for bad in ["", "yesterday", "2h ago", "@", "2026-13-01"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
