//! One command of a unit: `-/bin/kill -HUP $MAINPID`.

use crate::observation::Text;

/// A command and what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command<'a> {
    /// `-`, `+`, `!`, `:`, `@`: how it is run (systemd.service(5)).
    prefixes: &'a str,
    line: &'a str,
}

impl<'a> Command<'a> {
    pub(super) fn read(value: &'a str) -> Self {
        let line = value.trim_start_matches(['-', '+', '!', ':', '@', '|']);
        let prefixes = &value[..value.len() - line.len()];
        let line = line.trim_start();
        Self { prefixes, line }
    }

    /// Behind `launcher`. What `@` gives for the program's own name goes: Firejail has no such thing.
    pub(super) fn under(&self, launcher: &str) -> String {
        let mut line = self.line.to_owned();
        if self.prefixes.contains('@') {
            let mut words = self.line.splitn(3, char::is_whitespace);
            let (program, rest) = (words.next().unwrap_or_default(), words.nth(1));
            line = [program, rest.unwrap_or_default()].join(" ");
        }
        let prefixes = self.prefixes.replace('@', "");
        format!("{prefixes}{launcher}{}", line.trim_end())
    }

    /// Whether systemd starts it as root whatever `User=` says.
    pub(super) fn is_as_root(&self) -> bool {
        self.prefixes.contains(['+', '!'])
    }

    /// `other`, run in the way in which this one is.
    pub(super) fn instead(&self, other: &str) -> String {
        format!("{}{other}", self.prefixes.replace('@', ""))
    }

    /// The signal, without SIG, that it sends to the main process and to no other; `None` if it does anything
    /// else.
    pub(super) fn signal_to_main(&self) -> Option<String> {
        let mut words = self.line.split_whitespace();
        if basename(words.next()?) != "kill" {
            return None;
        }
        let words: Vec<&str> = words.collect();
        let (target, options) = words.split_last()?;
        if !is_main(target) {
            return None;
        }
        let signal = match options {
            [] => "TERM",
            [one] => one.strip_prefix('-')?,
            ["-s" | "-n", one] => one,
            _ => return None,
        };
        let signal = signal.strip_prefix("SIG").unwrap_or(signal);
        let is_plain =
            !signal.is_empty() && signal.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_plain.then(|| signal.to_owned())
    }

    /// Whether it is given the number of the main process.
    pub(super) fn names_main(&self) -> bool {
        self.line.contains("$MAINPID") || self.line.contains("${MAINPID}")
    }

    pub(super) fn mentions(&self, file: &str) -> bool {
        self.line.split_whitespace().any(|word| {
            let word = word.trim_matches(['\'', '"']);
            word == file
                || word
                    .strip_suffix(file)
                    .is_some_and(|rest| rest.ends_with('='))
        })
    }

    /// Whether its program is the one at `path`; symbolic links may have stood between.
    pub(super) fn runs(&self, path: &Text) -> bool {
        let program = self.line.split_whitespace().next().unwrap_or_default();
        path.as_path()
            .file_name()
            .is_some_and(|name| name == basename(program))
    }

    /// As the unit has it.
    pub(super) fn shown(&self) -> &str {
        self.line
    }
}

fn is_main(word: &str) -> bool {
    matches!(word.trim_matches(['\'', '"']), "$MAINPID" | "${MAINPID}")
}

fn basename(program: &str) -> &str {
    let program = program.trim_matches(['\'', '"']);
    program.rsplit_once('/').map_or(program, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_for_the_main_process_is_found() {
        for (line, signal) in [
            ("/bin/kill -HUP $MAINPID", Some("HUP")),
            ("-/usr/bin/kill -SIGUSR1 ${MAINPID}", Some("USR1")),
            ("kill -s USR2 \"$MAINPID\"", Some("USR2")),
            ("/bin/kill -1 $MAINPID", Some("1")),
            ("/bin/kill $MAINPID", Some("TERM")),
            ("/bin/kill -HUP 17", None),
            ("/bin/kill -HUP;x $MAINPID", None),
            ("/usr/sbin/d reload $MAINPID", None),
            ("", None),
        ] {
            let found = Command::read(line).signal_to_main();
            assert_eq!(found.as_deref(), signal, "{line}");
        }
    }

    #[test]
    fn firejail_stands_between_the_prefixes_and_the_program() {
        let under = |line| Command::read(line).under("firejail -- ");
        assert_eq!(under("/bin/d -x"), "firejail -- /bin/d -x");
        assert_eq!(under("-!/bin/d $OPTS"), "-!firejail -- /bin/d $OPTS");
        assert_eq!(under("@/bin/d name -x y"), "firejail -- /bin/d -x y");
        assert_eq!(under("@/bin/d name"), "firejail -- /bin/d");
    }

    #[test]
    fn a_pid_file_is_found_among_the_words() {
        let command = Command::read("-/sbin/start-stop-daemon --stop --pidfile /run/d.pid");
        assert!(command.mentions("/run/d.pid") && !command.mentions("/run/d"));
        assert!(Command::read("x --pid-file=/run/d.pid").mentions("/run/d.pid"));
        assert!(command.runs(&"/usr/sbin/start-stop-daemon".into()));
    }
}
