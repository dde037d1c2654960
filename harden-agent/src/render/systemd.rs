//! A drop-in for a unit: `NAME.d/50-harden.conf`.

use crate::observation::{Text, unit_name};
use crate::output::{MARKER_PREFIX, file_stem};
use crate::policy::Decision;
use crate::policy::systemd::{Directive, DropIn, LISTS};

use super::page::{Options, Page};

/// The name of the file in the user's directory. The name that it has to have for systemd says
/// nothing of the unit.
#[must_use]
pub fn file_name(subject: &Text) -> String {
    format!("{}.drop-in.conf", file_stem(subject))
}

/// The text of the drop-in.
#[must_use]
pub fn drop_in(drop_in: &DropIn, options: &Options) -> String {
    let mut out = Page::new(options.clone());
    let unit = unit(&drop_in.subject);
    out.comment(&format!("systemd drop-in for {}", drop_in.subject));
    out.line(&format!(
        "{MARKER_PREFIX}; it belongs at /etc/systemd/system/{unit}.d/50-harden.conf"
    ));
    out.coverage(&drop_in.coverage);
    out.warnings(&drop_in.warnings);
    out.section(|out| {
        out.line("[Service]");
        for directive in &drop_in.directives {
            write(directive, out);
        }
    });
    out.text()
}

fn write(directive: &Directive, out: &mut Page) {
    let name = directive.name;
    match &directive.value {
        Decision::Given(items) => {
            for item in items {
                out.explain(item);
            }
            // The packager's own list would be added to, not replaced.
            if LISTS.contains(&name) && !items.is_empty() {
                out.line(&format!("{name}="));
            }
            let words: Vec<&str> = items.iter().map(|item| item.value.as_str()).collect();
            // A device and what may be done with it are one line (systemd.resource-control(5)).
            if name == "DeviceAllow" {
                for word in words {
                    out.line(&format!("{name}={word}"));
                }
                return;
            }
            // An empty ReadWritePaths= would take back what the unit has.
            if name != "ReadWritePaths" || !items.is_empty() {
                out.line(&format!("{name}={}", words.join(" ")));
            }
        }
        Decision::Withheld(reasons) => out.reasons(&format!("{name}="), reasons),
    }
}

/// The name of the unit that was observed, or of the one that a command would be. Those of systemd hold
/// no other characters (systemd.unit(5)).
pub(super) fn unit(subject: &Text) -> String {
    let own = unit_name(subject);
    let name = String::from_utf8_lossy(own).into_owned();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let name = if !name.is_empty() && name.len() < 256 && name.bytes().all(plain) {
        name
    } else {
        file_stem(subject)
    };
    match name.rsplit_once('.') {
        Some((_, "service")) => name,
        _ => format!("{name}.service"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::observation::arbitrary::observation;
    use crate::policy::fixture::Fixture;
    use crate::policy::{Commands, DecisionOptions};

    /// Whether systemd reads the line as what it says, and as nothing else: a comment, a section, or a
    /// directive of ours whose words need no quotes, escapes or specifiers.
    fn is_sound(line: &str) -> bool {
        if !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return false;
        }
        if line.is_empty() || line.starts_with("# ") || line == "[Service]" {
            return true;
        }
        let Some((name, value)) = line.split_once('=') else {
            return false;
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" /._-+@:~".contains(&byte);
        name.bytes().all(|byte| byte.is_ascii_alphabetic()) && value.bytes().all(plain)
    }

    fn options(bare: bool) -> Options {
        Options {
            bare,
            ..Options::default()
        }
    }

    proptest! {
        #[test]
        fn whatever_was_observed_every_line_is_sound(observation in observation()) {
            let decided = DropIn::decide(&Commands::of(observation.clone()).unit_basis(), None, &DecisionOptions::default());
            for bare in [false, true] {
                for line in drop_in(&decided, &options(bare)).lines() {
                    prop_assert!(is_sound(line), "{}", line);
                }
            }
        }

        #[test]
        fn what_is_written_reads_as_what_was_decided(observation in observation()) {
            let decided = DropIn::decide(&Commands::of(observation.clone()).unit_basis(), None, &DecisionOptions::default());
            let text = drop_in(&decided, &options(true));
            // A line for each device.
            let listed = |one: &&Directive| one.name != "DeviceAllow";
            for directive in decided.directives.iter().filter(listed) {
                let start = format!("{}=", directive.name);
                // The last of a list is the list: what stands before it is empty.
                let read = text.lines().filter_map(|line| line.strip_prefix(&start)).next_back();
                let read: Option<Vec<&str>> = read.map(|words| words.split_whitespace().collect());
                let words = directive.value.given().map(|items| {
                    items.iter().map(|item| item.value.as_str()).collect::<Vec<_>>()
                });
                let said = words.filter(|words| !words.is_empty() || directive.name != "ReadWritePaths");
                prop_assert_eq!(read, said);
            }
        }
    }

    #[test]
    fn a_unit_keeps_its_name_in_the_path_and_a_stranger_does_not() {
        let path = |name: &str| {
            let mut observation = Fixture::new()
                .executable("/a")
                .syscalls(&["read"])
                .observation();
            observation.name = name.into();
            let decided = DropIn::decide(
                &Commands::of(observation.clone()).unit_basis(),
                None,
                &DecisionOptions::default(),
            );
            let text = drop_in(&decided, &options(true));
            let line = text.lines().nth(1).unwrap().to_owned();
            line.split_once("/etc/systemd/system/")
                .unwrap()
                .1
                .to_owned()
        };
        assert_eq!(
            path(r"a\x2db@c.service"),
            r"a\x2db@c.service.d/50-harden.conf"
        );
        assert_eq!(path("nginx"), "nginx.service.d/50-harden.conf");
        assert_eq!(
            path("/machine/payload:nginx.service"),
            "nginx.service.d/50-harden.conf"
        );
        assert_eq!(
            path("../x\n[Unit]"),
            "+2e.+2fx+0a+5bUnit+5d.service.d/50-harden.conf"
        );
    }
}
