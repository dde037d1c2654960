//! What a login starts: the program with the arguments that it was started with.

use crate::observation::{Observation, RunKind, Text};

use super::evidence::Decision;

/// The command, word by word, of what a line of a script can hold when it is quoted.
#[must_use]
pub fn command(observation: &Observation) -> Decision<Vec<String>> {
    match words(observation) {
        Ok(words) => Decision::Given(words),
        Err(reason) => Decision::withheld(reason),
    }
}

fn words(observation: &Observation) -> Result<Vec<String>, String> {
    let runs = observation
        .runs
        .values()
        .filter(|run| run.kind != RunKind::Override);
    let run = runs.clone().find(|run| !run.command.is_empty());
    let mut words: Vec<&[u8]> = run
        .into_iter()
        .flat_map(|run| &run.command)
        .map(Text::as_bytes)
        .collect();
    let base = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
    // A name without a directory was looked up in PATH, which a login may have another of.
    let programs = runs.flat_map(|run| &run.executables);
    // A link to the program, such as sh, is a name of it.
    let mut programs = programs
        .flat_map(|(path, facts)| std::iter::once(path).chain(facts.invoked_as.keys()))
        .map(Text::as_bytes);
    match words.first_mut() {
        Some(first) if !first.starts_with(b"/") => {
            let named = programs.find(|path| base(path) == base(first));
            *first = named.ok_or_else(|| format!("no program {} was seen", Text::from(*first)))?;
        }
        Some(_) => {}
        None => words.extend(programs.next()),
    }
    if words.is_empty() {
        return Err("no program was seen".to_owned());
    }
    words.into_iter().map(quotable).collect()
}

/// A word that stays one line of text.
fn quotable(word: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(word).ok();
    let text = text.filter(|text| !text.contains(char::is_control));
    text.map(str::to_owned).ok_or_else(|| {
        format!(
            "a shell script cannot quote this safely: {}",
            Text::from(word)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn started(words: &[&[u8]]) -> Decision<Vec<String>> {
        let mut fixture = Fixture::new()
            .executable("/usr/bin/vtysh")
            .invoked_as("/bin/sh")
            .syscalls(&["read"]);
        fixture.run().command = words.iter().map(Text::from).collect();
        command(&fixture.observation())
    }

    #[test]
    fn the_program_is_found_by_its_name_or_that_of_a_link() {
        let is = |words: &[&[u8]], expected: &[&str]| {
            let decided = started(words);
            assert_eq!(decided.given().unwrap(), expected);
        };
        is(&[b"vtysh", b"-E"], &["/usr/bin/vtysh", "-E"]);
        is(&[], &["/usr/bin/vtysh"]);
        is(&[b"sh"], &["/bin/sh"]);
        is(&[b"/opt/other", b""], &["/opt/other", ""]);
    }

    #[test]
    fn what_was_not_seen_or_cannot_be_quoted_is_not_started() {
        for words in [&b"other"[..], b"/bin/\xff", b"/bin/a\nrm -r /", b"/bin/a\0"] {
            assert!(started(&[words]).given().is_none(), "{words:?}");
        }
        assert!(command(&Fixture::new().observation()).given().is_none());
    }
}
