//! A login shell that starts the program under Firejail: `NAME.login.sh`.

use anyhow::{Context as _, Result, ensure};

use crate::observation::{Observation, RunKind, Text};
use crate::output::{MARKER_PREFIX, file_stem};
use crate::policy::firejail::{Launch, Policy};

use super::page::{Options, Page};
use super::service;

/// The name of the file.
#[must_use]
pub fn file_name(subject: &Text) -> String {
    format!("{}.login.sh", file_stem(subject))
}

/// The text of the script.
///
/// # Errors
/// It is not known which program was started, or a line of a script cannot hold its name.
pub fn wrapper(policy: &Policy, observation: &Observation, options: &Options) -> Result<String> {
    let command = command(observation)?;
    let mut out = Page::new(options.clone());
    let file = file_name(&policy.subject);
    let installed = format!("/usr/local/libexec/{}-login", file_stem(&policy.subject));
    let profile = service::profile(&policy.subject);
    out.line("#!/bin/sh");
    out.comment(&format!(
        "Logs a user in to {} under Firejail",
        policy.subject
    ));
    out.line(&format!(
        "{MARKER_PREFIX}; it belongs at {installed}, and the profile at {profile}"
    ));
    // In the user's home, where the user could write another one in its place, it would confine nobody.
    for line in [
        format!("By hand, as root: install -D -m 755 {file} {installed}"),
        format!("then: echo {installed} >>/etc/shells && usermod -s {installed} USER"),
    ] {
        out.comment(&line);
    }
    out.remark("What is asked for as `ssh HOST COMMAND` comes as -c COMMAND");
    let dashes = match policy.target.launch {
        Launch::Direct => "",
        // Firejail starts it through $SHELL, which is this script.
        Launch::Shell(_) => {
            out.line("SHELL=/bin/bash");
            out.line("export SHELL");
            "-- "
        }
    };
    out.line(&format!(
        "exec /usr/bin/firejail --quiet --profile={profile} {dashes}{command} \"$@\""
    ));
    Ok(out.text())
}

/// The program with the arguments that it was started with, quoted for a shell.
fn command(observation: &Observation) -> Result<String> {
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
            *first =
                named.with_context(|| format!("no program {} was seen", Text::from(*first)))?;
        }
        Some(_) => {}
        None => words.extend(programs.next()),
    }
    ensure!(!words.is_empty(), "no program was seen");
    let quoted = words.into_iter().map(|word| {
        let text = std::str::from_utf8(word)
            .ok()
            .filter(|text| !text.contains(char::is_control));
        let quoted = text.and_then(|text| shlex::try_quote(text).ok());
        let quoted = quoted.with_context(|| {
            format!(
                "a shell script cannot quote this safely: {}",
                Text::from(word)
            )
        })?;
        anyhow::Ok(quoted.into_owned())
    });
    Ok(quoted.collect::<Result<Vec<_>>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::firejail::Target;
    use crate::policy::fixture::Fixture;
    use crate::policy::{Basis, Terms};

    fn script(words: &[&[u8]], launch: Launch) -> Result<String> {
        let mut fixture = Fixture::new()
            .executable("/usr/bin/vtysh")
            .invoked_as("/bin/sh")
            .syscalls(&["read"]);
        fixture.run().command = words.iter().map(Text::from).collect();
        let observation = fixture.observation();
        let target = Target {
            launch,
            ..Target::default()
        };
        let policy = Policy::decide(&Basis::of(&observation), target, &Terms::default());
        wrapper(&policy, &observation, &Options::default())
    }

    #[test]
    fn the_program_is_found_and_its_shell_is_not_the_script() {
        let text = script(&[b"vtysh", b"-E"], Launch::Direct).unwrap();
        let last = text.lines().last().unwrap();
        assert_eq!(
            last,
            "exec /usr/bin/firejail --quiet --profile=/etc/firejail/test.profile /usr/bin/vtysh -E \"$@\""
        );
        let text = script(&[], Launch::Shell("/bin/bash".to_owned())).unwrap();
        assert!(
            text.contains("SHELL=/bin/bash\nexport SHELL\nexec "),
            "{text}"
        );
        assert!(text.ends_with(" -- /usr/bin/vtysh \"$@\"\n"), "{text}");
        let text = script(&[b"sh"], Launch::Direct).unwrap();
        assert!(text.ends_with(" /bin/sh \"$@\"\n"), "{text}");
        assert!(script(&[b"other"], Launch::Direct).is_err());
        assert!(script(&[b"/bin/\xff"], Launch::Direct).is_err());
        assert!(script(&[b"/bin/a\nrm -r /"], Launch::Direct).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A real shell hands on what was recorded, word for word.
        #[test]
        fn a_shell_reads_the_words_as_they_were(words in proptest::collection::vec("[ -~é]{0,12}", 1..4)) {
            let mut all: Vec<&[u8]> = vec![b"/usr/bin/vtysh"];
            all.extend(words.iter().map(String::as_bytes));
            let text = script(&all, Launch::Direct).unwrap();
            let print = text.replace("exec /usr/bin/firejail", "printf '%s\\0'");
            let output = Command::new("sh").args(["-c", &print, "sh", "-c", "x y"]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let said: Vec<&str> = said.split_terminator('\0').skip(3).collect();
            let expected: Vec<&str> = words.iter().map(String::as_str).chain(["-c", "x y"]).collect();
            prop_assert_eq!(said, expected);
        }
    }
}
