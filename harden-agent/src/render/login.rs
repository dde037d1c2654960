//! A login shell that starts the program under Firejail: `NAME.login.sh`.

use crate::observation::Text;
use crate::output::{MARKER_PREFIX, file_stem};
use crate::policy::firejail::{Launch, Profile};

use super::page::{Options, Page};
use super::service;

/// The name of the file.
#[must_use]
pub fn file_name(subject: &Text) -> String {
    format!("{}.login.sh", file_stem(subject))
}

/// The text of the script, which starts `command`.
#[must_use]
pub fn wrapper(profile: &Profile, command: &[String], options: &Options) -> String {
    let command = quoted(command);
    let mut out = Page::new(options.clone());
    let file = file_name(&profile.subject);
    let installed = format!("/usr/local/libexec/{}-login", file_stem(&profile.subject));
    let path = service::profile(&profile.subject);
    out.line("#!/bin/sh");
    out.comment(&format!(
        "Logs a user in to {} under Firejail",
        profile.subject
    ));
    out.line(&format!(
        "{MARKER_PREFIX}; it belongs at {installed}, and the profile at {path}"
    ));
    // In the user's home, where the user could write another one in its place, it would confine nobody.
    for line in [
        format!("By hand, as root: install -D -m 755 {file} {installed}"),
        format!("then: echo {installed} >>/etc/shells && usermod -s {installed} USER"),
    ] {
        out.comment(&line);
    }
    out.remark("What is asked for as `ssh HOST COMMAND` comes as -c COMMAND");
    let dashes = match profile.target.launch {
        Launch::Direct => "",
        // Firejail starts it through $SHELL, which is this script.
        Launch::Shell(_) => {
            out.line("SHELL=/bin/bash");
            out.line("export SHELL");
            "-- "
        }
    };
    out.line(&format!(
        "exec /usr/bin/firejail --quiet --profile={path} {dashes}{command} \"$@\""
    ));
    out.text()
}

/// The words, each as a shell reads it back.
fn quoted(words: &[String]) -> String {
    let words: Vec<_> = words
        .iter()
        // Only a NUL cannot be quoted, and no command has one.
        .filter_map(|word| shlex::try_quote(word).ok())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::firejail::Target;
    use crate::policy::fixture::Fixture;
    use crate::policy::{Basis, DecisionOptions};

    fn script(words: &[&str], launch: Launch) -> String {
        let fixture = Fixture::new().executable("/usr/bin/vtysh");
        let observation = fixture.syscalls(&["read"]).observation();
        let target = Target {
            launch,
            ..Target::default()
        };
        let profile = Profile::decide(
            &Basis::of(&observation),
            target,
            &DecisionOptions::default(),
        );
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        wrapper(&profile, &words, &Options::default())
    }

    #[test]
    fn the_shell_of_firejail_is_not_the_script() {
        let text = script(&["/usr/bin/vtysh", "-E"], Launch::Direct);
        let last = text.lines().last().unwrap();
        assert_eq!(
            last,
            "exec /usr/bin/firejail --quiet --profile=/etc/firejail/test.profile /usr/bin/vtysh -E \"$@\""
        );
        let text = script(&["/usr/bin/vtysh"], Launch::Shell("/bin/bash".to_owned()));
        assert!(
            text.contains("SHELL=/bin/bash\nexport SHELL\nexec "),
            "{text}"
        );
        assert!(text.ends_with(" -- /usr/bin/vtysh \"$@\"\n"), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A real shell hands on what was recorded, word for word.
        #[test]
        fn a_shell_reads_the_words_as_they_were(words in proptest::collection::vec("[ -~é]{0,12}", 1..4)) {
            let mut all = vec!["/usr/bin/vtysh"];
            all.extend(words.iter().map(String::as_str));
            let text = script(&all, Launch::Direct);
            let print = text.replace("exec /usr/bin/firejail", "printf '%s\\0'");
            let output = Command::new("sh").args(["-c", &print, "sh", "-c", "x y"]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let said: Vec<&str> = said.split_terminator('\0').skip(3).collect();
            let expected: Vec<&str> = words.iter().map(String::as_str).chain(["-c", "x y"]).collect();
            prop_assert_eq!(said, expected);
        }
    }
}
