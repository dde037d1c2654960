//! Where the time went: each part of the tests, when it began and how long it took.

use std::{
    collections::BTreeMap,
    fmt, fs,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::workspace;

/// What has been measured in this run. Parts may go on side by side.
#[derive(Debug)]
pub struct Times {
    begin: Instant,
    parts: Mutex<Vec<Part>>,
}

#[derive(Debug)]
struct Part {
    name: String,
    from: Duration,
    took: Duration,
}

impl Times {
    /// Begins now.
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
            parts: Mutex::default(),
        }
    }

    /// Does a part, and keeps how long it took.
    pub fn measure<T>(&self, name: &str, part: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = part();
        self.add(name, begin);
        result
    }

    /// Keeps a part that ends now.
    pub fn add(&self, name: &str, begin: Instant) {
        let part = Part {
            name: name.to_owned(),
            from: begin.saturating_duration_since(self.begin),
            took: begin.elapsed(),
        };
        self.parts().push(part);
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the times where [`last`] finds them; what was not run this time keeps its own.
    pub fn save(&self) -> Result<()> {
        let mut all = last();
        for part in self.parts().iter() {
            all.insert(part.name.clone(), part.took.as_secs_f64());
        }
        let file = workspace::test_times();
        let text = serde_json::to_string_pretty(&all)?;
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))
    }
}

/// How many seconds each part took when it ran last.
pub fn last() -> BTreeMap<String, f64> {
    let text = fs::read(workspace::test_times()).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The table: minutes and seconds, in the order in which the parts began.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.parts();
        parts.sort_by_key(|part| part.from);
        writeln!(f, "  from    took")?;
        for part in parts.iter() {
            writeln!(
                f,
                "{:>6}  {:>6}  {}",
                clock(part.from),
                clock(part.took),
                part.name
            )?;
        }
        write!(
            f,
            "{:>6}  {:>6}  in all",
            clock(Duration::ZERO),
            clock(self.begin.elapsed())
        )
    }
}

fn clock(time: Duration) -> String {
    let seconds = (time.as_millis() + 500) / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_in_the_order_in_which_they_began() {
        let times = Times::new();
        let first = Instant::now();
        times.measure("second", || ());
        times.add("first", first);
        let table = times.to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(lines[1].ends_with("0:00  first"), "{table}");
        assert!(lines[3].ends_with("in all"), "{table}");
    }

    #[test]
    fn times_are_rounded_to_seconds() {
        assert_eq!(clock(Duration::from_millis(59_600)), "1:00");
        assert_eq!(clock(Duration::from_millis(400)), "0:00");
        assert_eq!(clock(Duration::from_secs(754)), "12:34");
    }
}
