//! When events were.

use jiff::{SignedDuration, Timestamp};

use crate::observation::Seen;

/// The kernel's monotonic clock as wall time. Taken once, so that the order of events stays.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    boot: Timestamp,
}

impl Default for Clock {
    fn default() -> Self {
        Self::now()
    }
}

impl Clock {
    /// One by which the machine began at `boot`.
    #[cfg(test)]
    pub(crate) fn from_boot(boot: Timestamp) -> Self {
        Self { boot }
    }

    fn now() -> Self {
        let monotonic = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
            .map(|time| {
                SignedDuration::new(time.tv_sec(), i32::try_from(time.tv_nsec()).unwrap_or(0))
            })
            .unwrap_or_default();
        let now = Timestamp::now();
        Self {
            boot: now.checked_sub(monotonic).unwrap_or(now),
        }
    }

    /// The wall time of `nanoseconds` on the monotonic clock.
    #[must_use]
    pub fn at(&self, nanoseconds: u64) -> Timestamp {
        let since = SignedDuration::from_nanos(i64::try_from(nanoseconds).unwrap_or(i64::MAX));
        self.boot.checked_add(since).unwrap_or(self.boot)
    }

    /// Seen at that time, and no more is known.
    pub(super) fn seen(&self, nanoseconds: u64) -> Seen {
        Seen::at(self.at(nanoseconds))
    }
}
