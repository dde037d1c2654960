use std::{fs, path::Path};

use clap::Parser as _;

use super::{super::text, *};
use crate::{
    cli::Cli,
    observation::{self, CapabilityCheck, Operation},
    policy::{
        firejail::{Launch, Target},
        fixture::Fixture,
        judge::oci,
    },
};

fn observed(directory: &Path) -> PathBuf {
    let observation = Fixture::new()
        .executable("/usr/sbin/d")
        .syscalls(&["mkdir", "read"])
        .capability("chown", CapabilityCheck::Granted)
        .file("/srv/a\n\u{1b}[31m", Operation::Read, "ok")
        .observation();
    let path = directory.join("d.observation.json");
    fs::write(&path, observation::to_json(&observation).unwrap()).unwrap();
    path
}

/// The status of `harden check` with these arguments, for the profile `text` in a file of this name.
fn status(directory: &Path, name: &str, text: &str, arguments: &[&str]) -> u8 {
    let file = directory.join(name);
    fs::write(&file, text).unwrap();
    let observation = observed(directory);
    let paths = [&file, &observation].map(|path| path.to_str().unwrap());
    let words = [
        "harden",
        "check",
        "--overrides",
        "/nonexistent",
        "--start",
        "direct",
    ];
    let words = words.iter().chain(arguments).chain(&paths);
    Cli::try_parse_from(words).unwrap().run().unwrap()
}

/// What is printed.
fn report(profile: &str, text: &str, to_text: fn(&Report<'_, '_>) -> String) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(profile);
    fs::write(&file, text).unwrap();
    let source = Source::read(file.as_os_str(), None).unwrap();
    let observation = observation::read(&observed(directory.path())).unwrap();
    let machine = Machine {
        target: Target {
            launch: Launch::Direct,
            ..Target::default()
        },
        calls: None,
        host: oci::Host::default(),
    };
    let (read, traps) = machine.understand(&source).unwrap();
    let around = Surroundings::default();
    let judge = Judge::new(&read.rules, &around);
    let check = check::Check::of(&read.rules, &judge, &Recorded::of(&observation));
    to_text(&Report {
        profile,
        observation: &observation,
        read: &read,
        traps: &traps,
        check: &check,
    })
}

fn for_people(report: &Report<'_, '_>) -> String {
    report.text()
}

#[test]
fn the_status_says_whether_the_work_would_fail() {
    let directory = tempfile::tempdir().unwrap();
    let status = |name, text, arguments: &[&str]| status(directory.path(), name, text, arguments);
    assert_eq!(status("d.profile", "private-tmp\n", &[]), 0);
    assert_eq!(status("d.profile", "caps.drop all\n", &[]), 1);
    // Firejail does not start with it.
    assert_eq!(status("d.profile", "no-such-directive\n", &[]), 1);
    // It may refuse something, and what is not known.
    assert_eq!(status("d.profile", "net eth0\n", &[]), 3);
    assert_eq!(status("d.profile", "net eth0\n", &["--strict"]), 1);
    assert_eq!(
        status("d.conf", "[Service]\nCapabilityBoundingSet=\n", &[]),
        1
    );
    assert_eq!(
        status("d.conf", "[Service]\nPrivateTmp=yes\n", &["--strict"]),
        0
    );
    let list = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}"#;
    assert_eq!(status("seccomp.json", list, &[]), 1);
    // The name says nothing, and the text does.
    assert_eq!(status("d", list, &[]), 1);
    assert_eq!(status("d", "[Service]\nCapabilityBoundingSet=\n", &[]), 1);
    assert_eq!(
        status("d.txt", "caps.drop all\n", &["--format", "firejail"]),
        1
    );
}

#[test]
fn what_is_refused_has_its_line_and_its_evidence() {
    let text = report(
        "d.profile",
        "private-tmp\nseccomp.keep read,exit\nseccomp.block-secondary\ncaps.keep chown\n",
        for_people,
    );
    assert!(
        text.contains("refused: /usr/sbin/d: native mkdir\n  by     seccomp.keep ("),
        "{text}"
    );
    assert!(text.contains("d.profile:2)\n  runs   run-0\n"), "{text}");
    let unused = text.split("nothing that was recorded:\n").nth(1).unwrap();
    assert!(
        unused.ends_with("d.profile:2: seccomp.keep exit\n"),
        "{text}"
    );
    let json = report("d.profile", "seccomp.keep read\n", |report| {
        report.json().to_string()
    });
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["refused"][0]["fact"], "native mkdir");
    assert_eq!(json["refused"][0]["by"]["line"], 1);
    assert_eq!(json["starts"], true);
    // 32-bit calls pass it.
    assert_eq!(json["traps"][0]["line"], 1);
}

#[test]
fn no_text_becomes_another_line_or_a_command_for_a_terminal() {
    let hostile = "no\u{1b}[31msuch\u{85}\nwhitelist /srv/\u{1b}]0;x\u{7}\n";
    let text = report("d.profile", hostile, for_people);
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{85}']), "{text:?}");
    assert!(text.contains("\\x1B[31m"), "{text}");
    let turned = report("d.profile", "whitelist /srv/\u{202e}x\n", for_people);
    assert!(!turned.contains('\u{202e}'), "{turned:?}");
    let long = format!("whitelist /srv/{}\n", "x".repeat(1 << 20));
    assert!(report("d.profile", &long, for_people).len() < 1 << 12);
}

#[test]
fn a_report_for_test_rigs_has_a_case_for_each_run() {
    let directory = tempfile::tempdir().unwrap();
    let junit = directory.path().join("report.xml");
    let arguments = ["--junit", junit.to_str().unwrap()];
    status(directory.path(), "d.profile", "caps.drop all\n", &arguments);
    let text = fs::read_to_string(&junit).unwrap();
    assert!(
        text.contains(r#"tests="2""#) && text.contains(r#"failures="1""#),
        "{text}"
    );
    assert!(
        text.contains("chown granted: refused by caps.drop all"),
        "{text}"
    );
    status(directory.path(), "d.profile", "private-tmp\n", &arguments);
    let text = fs::read_to_string(&junit).unwrap();
    assert!(text.contains(r#"failures="0""#), "{text}");
}

#[test]
fn what_a_profile_includes_is_part_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("more.inc"), "include own.local\ncaps.drop all\n").unwrap();
    assert_eq!(
        status(path, "d.profile", "include more.inc\n", &["--strict"]),
        1
    );
    fs::write(path.join("more.inc"), "include more.inc\n").unwrap();
    // Firejail does not start with a loop, nor without a file; but one may be ignored.
    assert_eq!(status(path, "d.profile", "include more.inc\n", &[]), 1);
    assert_eq!(status(path, "d.profile", "include none.inc\n", &[]), 1);
    let ignored = "ignore include none.inc\ninclude none.inc\n";
    assert_eq!(status(path, "d.profile", ignored, &[]), 0);
    // A unit has its drop-ins.
    fs::create_dir(path.join("d.service.d")).unwrap();
    let drop_in = path.join("d.service.d/10-x.conf");
    fs::write(drop_in, "[Service]\nCapabilityBoundingSet=\n").unwrap();
    let unit = "[Unit]\nDescription=x\n[Service]\nExecStart=/usr/sbin/d\n";
    assert_eq!(status(path, "d.service", unit, &[]), 1);
}

#[test]
fn no_file_fills_the_memory_or_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert!(text::file(Path::new("/dev/zero")).is_err());
    let fifo = path.join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    assert!(text::file(&fifo).is_err());
    assert_eq!(status(path, "d.profile", "include /dev/zero\n", &[]), 1);
    // Each includes the next one four times.
    for number in 0..14 {
        let next = format!("include {}.inc\n", number + 1).repeat(4);
        fs::write(path.join(format!("{number}.inc")), next).unwrap();
    }
    fs::write(path.join("14.inc"), "quiet\n").unwrap();
    let profile = path.join("d.profile");
    fs::write(&profile, "include 0.inc\n").unwrap();
    assert!(Source::read(profile.as_os_str(), None).is_err());
}
