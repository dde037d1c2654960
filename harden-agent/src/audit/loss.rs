//! Lines that say that others are missing.

use serde::Serialize;

use super::fields::find;

/// What one line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// So many were not written, as there were too many (`printk_ratelimit`): `kauditd_printk_skb: 12 callbacks
    /// suppressed`.
    Suppressed(u64),
    /// So many have been lost since boot, for want of room in a queue: `audit_lost=12` (`audit_log_lost`).
    Lost(u64),
    /// So many lines of the kernel's log came and went before the journal read them.
    Missed(u64),
}

impl Loss {
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        if let Some(at) = find(line, b" callbacks suppressed") {
            let is_audit = find(&line[..at], b"audit").is_some();
            return is_audit.then(|| Self::Suppressed(number(last_word(&line[..at]))));
        }
        if let Some(at) = find(line, b"audit_lost=") {
            return Some(Self::Lost(number(&line[at + b"audit_lost=".len()..])));
        }
        let at = find(line, b" kernel messages")?;
        let missed = find(&line[..at], b"Missed ")?;
        Some(Self::Missed(number(&line[missed + b"Missed ".len()..])))
    }
}

fn last_word(text: &[u8]) -> &[u8] {
    text.rsplit(u8::is_ascii_whitespace).next().unwrap_or(text)
}

/// The number that a text begins with. A line says that there is a loss, so there is one at least.
fn number(text: &[u8]) -> u64 {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let digits = &text[..end.unwrap_or(text.len())];
    let number = str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    number.unwrap_or(1)
}

/// What one log is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Losses {
    /// Lines that the kernel did not write, as there were too many.
    pub suppressed: u64,
    /// Records that the kernel has lost since boot.
    pub lost: u64,
    /// Lines of the kernel's log that the journal missed.
    pub missed: u64,
    /// Lines that were too long to be read, or whose form nothing is known of.
    pub unread: u64,
    /// Lines of the kernel's log that later ones have replaced.
    pub overwritten: u64,
}

impl Losses {
    pub(super) fn add(&mut self, loss: Loss) {
        match loss {
            Loss::Suppressed(count) => self.suppressed = self.suppressed.saturating_add(count),
            // It counts up by itself.
            Loss::Lost(count) => self.lost = self.lost.max(count),
            Loss::Missed(count) => self.missed = self.missed.saturating_add(count),
        }
    }

    /// Each with its number, as a person reads it.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let all = [
            (
                self.suppressed,
                "lines that the kernel did not write (its rate limit)",
            ),
            (
                self.lost,
                "records that the kernel has lost since boot (audit_lost)",
            ),
            (self.missed, "lines of the kernel that the journal missed"),
            (self.unread, "lines that could not be read"),
            (
                self.overwritten,
                "older lines that the kernel's log no longer has",
            ),
        ];
        let some = all.into_iter().filter(|(count, _)| *count > 0);
        some.map(|(count, what)| format!("{count} {what}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted() {
        let mut losses = Losses::default();
        for line in [
            "[1.2] kauditd_printk_skb: 12 callbacks suppressed",
            "[1.2] audit_printk_skb: 3 callbacks suppressed",
            "[1.2] net_ratelimit: 9 callbacks suppressed",
            "audit: audit_lost=5 audit_rate_limit=0 audit_backlog_limit=64",
            "audit: audit_lost=7 audit_rate_limit=0 audit_backlog_limit=64",
            "debian systemd-journald[1]: Missed 4 kernel messages",
            "nothing of the kind",
        ] {
            if let Some(loss) = Loss::parse(line.as_bytes()) {
                losses.add(loss);
            }
        }
        assert_eq!((losses.suppressed, losses.lost, losses.missed), (15, 7, 4));
        assert_eq!(losses.said().len(), 3);
        let none = Loss::parse(b"audit_lost=99999999999999999999999");
        assert_eq!(none, Some(Loss::Lost(1)));
    }
}
