use proptest::prelude::*;
use pulldown_cmark::{Event, Options as Dialect, Parser, Tag};

use super::*;
use crate::observation::arbitrary::observation;
use crate::policy::account::Accounts;
use crate::policy::firejail::Target;
use crate::policy::fixture::Fixture;
use crate::policy::{Commands, DecisionOptions, Id};

fn text(observation: &Observation, syntax: Syntax) -> String {
    let decision_options = DecisionOptions::default();
    let commands = Commands::of(observation.clone());
    let basis = commands.unit_basis();
    let report = Report {
        observation,
        profile: &Profile::decide(&commands.basis(), Target::default(), &decision_options),
        drop_in: &DropIn::decide(&basis, None, &decision_options),
        account: &Account::decide(&basis, &Accounts::default(), &decision_options),
    };
    report.text(syntax, &Options::default())
}

/// The headings, and all that is written in code, as a reader of Markdown takes it; an error for what has no place
/// in a report.
fn read(markdown: &str) -> Result<(usize, Vec<String>), String> {
    let (mut headings, mut names) = (0, Vec::new());
    for event in Parser::new_ext(
        markdown,
        Dialect::ENABLE_TABLES | Dialect::ENABLE_STRIKETHROUGH,
    ) {
        match event {
            Event::Start(Tag::Heading { .. }) => headings += 1,
            Event::Code(name) => names.push(name.into_string()),
            Event::Html(_) | Event::InlineHtml(_) | Event::HardBreak | Event::Rule => {
                return Err(format!("{event:?}"));
            }
            Event::Start(
                Tag::Link { .. }
                | Tag::Image { .. }
                | Tag::CodeBlock(_)
                | Tag::Emphasis
                | Tag::Strong
                | Tag::Strikethrough,
            ) => return Err(format!("{event:?}")),
            _ => {}
        }
    }
    Ok((headings, names))
}

const HEADINGS: usize = 11;

proptest! {
    #[test]
    fn whatever_was_observed_nothing_but_the_report_s_own_has_a_meaning(observation in observation()) {
        let markdown = text(&observation, Syntax::Markdown);
        let (headings, _) = read(&markdown).map_err(TestCaseError::fail)?;
        prop_assert_eq!(headings, HEADINGS);
        let plain = text(&observation, Syntax::Text);
        prop_assert!(plain.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
        prop_assert_eq!(plain.lines().filter(|line| line.starts_with(MARKER_PREFIX)).count(), 1);
    }

    #[test]
    fn a_reader_sees_every_name_as_it_was(path in "/srv/[ -~]{1,24}") {
        let fixture = Fixture::new().executable("/usr/sbin/d").file(&path, Operation::Write, "ok");
        let observation = fixture.observation();
        let markdown = text(&observation, Syntax::Markdown);
        let (_, names) = read(&markdown).map_err(TestCaseError::fail)?;
        let name = Text::from(&path).to_string();
        prop_assert!(names.contains(&name), "{} in {:?}", name, names);
    }
}

#[test]
fn it_tells_what_was_seen_and_what_to_do() {
    let observation = Fixture::new()
        .executable("/usr/sbin/d")
        .syscalls(&["read", "bind"])
        .family("inet")
        .file("/var/lib/d/state", Operation::Write, "ok")
        .file("/etc/d.conf", Operation::Read, "ENOENT")
        .observation();
    let markdown = text(&observation, Syntax::Markdown);
    for line in [
        "# Written by harden: `test`",
        "## Root or not",
        "| `/var/lib/d/state` | write |",
        "- `/etc/d.conf`",
        "| `inet` | /usr/sbin/d\\; 1 run |",
        "| `bind` | ? | 1 | /usr/sbin/d |",
    ] {
        let line = line.replace("\\;", ";");
        assert!(markdown.contains(&line), "{line} in\n{markdown}");
    }
    assert!(markdown.contains(&Id::FEW_TESTS.to_string()), "{markdown}");
    let plain = text(&observation, Syntax::Text);
    assert!(
        plain.contains("- file: /var/lib/d/state; how: write"),
        "{plain}"
    );
}
