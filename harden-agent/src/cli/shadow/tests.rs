use clap::Parser as _;

use super::*;
use crate::{
    agent::control::tests::shadow,
    cli::{Cli, Command},
    policy::judge::source as lines,
};

fn parsed(arguments: &[&str]) -> Shadow {
    let words = ["harden", "shadow", "nginx"].iter().chain(arguments);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Shadow(shadow) => shadow,
        other => panic!("{other:?}"),
    }
}

fn reasons(arguments: &[&str], summary: &ShadowSummary) -> String {
    parsed(arguments).reasons(summary).join("; ")
}

/// A unit with seven tests in a minute and a half, of which nothing would be refused.
fn fine() -> ShadowSummary {
    ShadowSummary {
        denials: 0,
        losses: BTreeMap::new(),
        ..shadow("nginx.service").summary
    }
}

#[test]
fn each_reason_is_enough() {
    assert_eq!(reasons(&["--ready"], &fine()), "");
    assert_eq!(reasons(&["--ready", "--for", "90s"], &fine()), "");
    let both = ["--ready", "--tests", "7", "--for", "1m"];
    assert_eq!(reasons(&both, &fine()), "");
    let eight = ["--ready", "--tests", "8"];
    assert_eq!(reasons(&eight, &fine()), "7 of 8 marked tests have ended");
    assert_eq!(
        reasons(&["--ready", "--for", "2m"], &fine()),
        "it was observed for 1m 30s of 2m"
    );
    let few = ShadowSummary { tests: 4, ..fine() };
    assert_eq!(
        reasons(&["--ready"], &few),
        "4 of 5 marked tests have ended"
    );
    let refused = ShadowSummary {
        denials: 1,
        ..fine()
    };
    assert_eq!(reasons(&["--ready"], &refused), "1 fact would be refused");
    let silent = ShadowSummary { facts: 0, ..fine() };
    assert!(reasons(&["--ready"], &silent).starts_with("nothing was recorded"));
}

#[test]
fn a_unit_that_was_not_observed_is_not_ready() {
    let gaps = ShadowSummary { gaps: 2, ..fine() };
    assert_eq!(
        reasons(&["--ready", "--for", "1s"], &gaps),
        "the unit may have done something that was not recorded, 2 times"
    );
}

#[test]
fn a_profile_that_refuses_nothing_is_not_ready_and_that_is_said() {
    let nothing = ShadowSummary {
        refuses_nothing: true,
        ..fine()
    };
    assert_eq!(reasons(&["--ready"], &nothing), REFUSES_NOTHING);
    let mut shadow = shadow("nginx.service");
    assert!(!details(&shadow).contains(REFUSES_NOTHING));
    shadow.summary.refuses_nothing = true;
    assert!(details(&shadow).contains(REFUSES_NOTHING));
}

#[test]
fn a_digest_is_shortened() {
    let mut one = shadow("nginx.service").summary;
    one.digest = "0123456789abcdef".repeat(4);
    let line = line(&one, Timestamp::now());
    assert!(line.ends_with("; sha256 01234567…"), "{line}");
}

#[test]
fn a_loss_is_a_reason_unless_it_is_of_the_whole_machine() {
    let lost = |kind: &str| ShadowSummary {
        losses: BTreeMap::from([(kind.to_owned(), 2)]),
        ..fine()
    };
    assert_eq!(
        reasons(&["--ready"], &lost("over-share")),
        "2 events were lost, and any of them may be one more"
    );
    assert_eq!(reasons(&["--ready"], &lost("skipped-sys_enter")), "");
}

#[test]
fn what_contradicts_itself_is_wrong_use() {
    for arguments in [
        &["--ready", "--off"][..],
        &["--ready", "--profile", "x"],
        &["--tests", "3"],
        &["--for", "1h"],
        &["--show", "--replace"],
    ] {
        let words = ["harden", "shadow", "nginx"].iter().chain(arguments);
        assert!(Cli::try_parse_from(words).is_err(), "{arguments:?}");
    }
    for alone in ["--ready", "--off", "--show", "--replace"] {
        assert!(Cli::try_parse_from(["harden", "shadow", alone]).is_err());
    }
}

#[test]
fn lines_keep_their_numbers_without_the_comments_between_them() {
    let text = "# c\n[Service]\n# c\nA=1 \\\n# goes on\n2\n\nB=3\n# c\nC=4";
    let parts = parts(&lines::lines("d.conf", text));
    let parts = parts.iter().map(|part| (part.first, part.text.as_str()));
    let parts: Vec<_> = parts.collect();
    let expected = [
        (2, "[Service]"),
        (4, "A=1 \\\n# goes on\n2\n\nB=3"),
        (10, "C=4"),
    ];
    assert_eq!(parts, expected);
}

#[test]
fn what_a_profile_or_a_program_is_called_stays_on_its_line() {
    let mut one = shadow("evil\nunit.service");
    one.summary.source = "a\u{1b}[2J".into();
    one.denials[0].line = "whitelist /a\u{1b}[2J".into();
    one.summary.unread = vec!["a\nb".into()];
    let text = list(&[one], Timestamp::now());
    assert!(!text.contains('\u{1b}'), "{text}");
    // The unit, a fact and its line, a reason, a line that was not read, a loss.
    assert_eq!(text.lines().count(), 6, "{text}");
}
