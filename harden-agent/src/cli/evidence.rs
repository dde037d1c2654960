//! Evidence, as it is printed below a fact.

use std::fmt::Write as _;

use crate::policy::Evidence;

/// So many names are printed: JSON has all of them.
const NAMED: usize = 5;

/// The runs, the marked tests, when first and how often: a line for each that is known.
pub(super) fn lines(evidence: &Evidence) -> String {
    let mut text = String::new();
    let runs = evidence.runs.iter().map(|run| short(&run.to_string()));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  runs   {}", some(runs));
    if !evidence.marks.is_empty() {
        let marks = evidence.marks.iter().map(ToString::to_string);
        let _ = writeln!(text, "  marks  {}", some(marks));
    }
    if let Some(first) = evidence.first {
        let _ = writeln!(text, "  first  {first}");
    }
    if let Some(count) = evidence.count {
        let _ = writeln!(text, "  times  {count}");
    }
    text
}

/// The first names, and how many more there are.
fn some(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(NAMED);
    let mut text = names[..names.len() - more].join(", ");
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// The first group of a UUID is enough to find a run by.
fn short(run: &str) -> String {
    match run.split_once('-') {
        Some((first, rest)) if first.len() == 8 && rest.len() == 27 => format!("{first}-…"),
        _ => run.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Seen, Word};

    #[test]
    fn runs_are_short_and_few() {
        let mut evidence = Evidence::default();
        for run in 0..7 {
            let id = format!("0000000{run}-e53e-4459-8f5c-da1b79ea4822");
            let id = Word::new(id).expect("a word");
            let path = "/usr/sbin/d".into();
            let test = crate::observation::Test {
                id: &id,
                label: None,
            };
            evidence.add(test, &path, &Seen::default());
        }
        assert_eq!(
            lines(&evidence),
            "  runs   00000000-…, 00000001-…, 00000002-…, 00000003-…, 00000004-… and 2 more\n"
        );
        assert_eq!(short("run-0"), "run-0");
    }
}
