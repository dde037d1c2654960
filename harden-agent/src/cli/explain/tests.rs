//! What is said of a word.

use super::*;
use crate::{
    observation::CapabilityCheck,
    policy::{Commands, fixture::Fixture},
    profile::Request,
};

fn observed() -> Observation {
    Fixture::new()
        .executable("/usr/sbin/d")
        .syscalls(&["read", "openat"])
        .capability("net_bind_service", CapabilityCheck::Granted)
        .family("inet6")
        .file("/run/d/pid", Operation::Create, "ok")
        .file("/running", Operation::Read, "ok")
        .file("/etc/d.conf", Operation::Read, "ok")
        .next_run()
        .executable("/usr/sbin/d")
        .syscalls(&["read"])
        .observation()
}

/// Asks for a word, with a Firejail and a systemd that are not asked themselves.
fn asked(observation: &Observation, word: &str) -> anyhow::Result<(bool, String)> {
    let request = Request::default();
    let adapted = unchanged(observation);
    answer(&request.plan(observation, &adapted), Some(word.as_bytes()))
}

fn said(observation: &Observation, word: &str) -> String {
    asked(observation, word).unwrap().1
}

/// The facts that a word is about.
fn facts(observation: &Observation, word: &str) -> Vec<String> {
    let word = Word::of(word.as_bytes(), observation);
    let text = explained(observation, Some(&word), &Judged::new());
    let lines = text.lines().filter(|line| !line.starts_with(' '));
    lines.map(str::to_owned).collect()
}

fn first_lines(word: &str) -> Vec<String> {
    facts(&observed(), word)
}

#[test]
fn words_as_the_files_have_them_are_understood() {
    for (word, expected) in [
        ("read", "/usr/sbin/d: native read"),
        (
            "CAP_NET_BIND_SERVICE",
            "/usr/sbin/d: net_bind_service granted",
        ),
        ("net_bind_service", "/usr/sbin/d: net_bind_service granted"),
        ("AF_INET6", "/usr/sbin/d: inet6"),
        ("-/run", "/usr/sbin/d: create ok /run/d/pid"),
        // read(2) is call 0 there, and `d` a name of private-bin.
        ("$0", "/usr/sbin/d: native read"),
        ("d", "/usr/sbin/d: ran"),
        ("d.conf", "/usr/sbin/d: read ok /etc/d.conf"),
    ] {
        assert_eq!(first_lines(word), [expected], "{word}");
    }
    assert!(first_lines("write").is_empty());
    assert!(first_lines("/ru").is_empty());
}

#[test]
fn a_directive_is_explained_given_or_not() {
    let observation = observed();
    let adapted = unchanged(&observation);
    let request = Request::default();
    let plan = request.plan(&observation, &adapted);
    let directive = |word| {
        let said = directive(&plan, word);
        (said.given, said.text)
    };
    let (given, text) = directive("private-etc");
    assert!(
        given && text.contains("profile: private-etc d.conf\n"),
        "{text}"
    );
    let (given, text) = directive("PrivateNetwork");
    assert!(
        !given && text.contains("drop-in: # no PrivateNetwork=: inet6 sockets were made\n"),
        "{text}"
    );
    let (given, text) = directive("DynamicUser");
    assert!(!given && text.is_empty(), "{text}");
    let (given, text) = directive("shell none");
    assert!(
        !given && text.starts_with("profile: # no shell none: "),
        "{text}"
    );
}

fn unchanged(observation: &Observation) -> Adapted<'_> {
    Adapted {
        exact: Commands::of(observation.clone()),
        general: Commands::of(observation.clone()),
        remarks: Vec::new(),
    }
}

#[test]
fn a_directive_comes_with_its_evidence() {
    let observation = observed();
    let request = Request::default();
    let adapted = unchanged(&observation);
    let plan = request.plan(&observation, &adapted);
    let text = |word| directive(&plan, word).text;
    let caps = text("caps.keep");
    assert_eq!(
        caps,
        "profile: # net_bind_service: /usr/sbin/d; 1 run\nprofile: caps.keep net_bind_service\n"
    );
    assert!(text("read").is_empty());
    assert!(text("private").contains("profile: # no private: "));
    assert!(text("read-only").contains("profile: # no read-only /run: "));
    let paths = text("ReadWritePaths");
    assert!(
        paths.ends_with("drop-in: ReadWritePaths=-/run/d\n"),
        "{paths}"
    );
}

#[test]
fn a_fact_has_the_lines_that_allow_it() {
    let observation = observed();
    let request = Request::default();
    let adapted = unchanged(&observation);
    let plan = request.plan(&observation, &adapted);
    let judged = |word: &str| {
        let judged = judged(&plan, &Word::of(word.as_bytes(), &observation));
        judged.into_values().flatten().collect::<Vec<_>>()
    };
    assert_eq!(
        judged("openat"),
        [
            "drop-in: allowed by SystemCallFilter=openat",
            "oci: allowed by \"names\": \"openat\"",
            "profile: allowed by seccomp.keep openat",
        ]
    );
    assert!(
        judged("net_bind_service")
            .contains(&"drop-in: allowed by CapabilityBoundingSet=CAP_NET_BIND_SERVICE".to_owned())
    );
    assert!(
        judged("/run/d/pid").contains(&"drop-in: allowed by ReadWritePaths=-/run/d".to_owned())
    );
}

#[test]
fn a_fact_has_its_runs_and_its_hook() {
    let text = explained(
        &observed(),
        Some(&Word::of(b"read", &observed())),
        &Judged::new(),
    );
    assert_eq!(
        text,
        "/usr/sbin/d: native read\n  runs   run-0, run-1\n  hook   raw_tp\n"
    );
}

#[test]
fn what_was_not_seen_may_have_been_out_of_sight() {
    let mut observation = observed();
    for run in observation.runs.values_mut() {
        run.hooks
            .insert("files".to_owned(), "none (refused)".to_owned());
    }
    let text = absent(&observation);
    assert!(text.contains("files: none (refused)"), "{text}");
}

#[test]
fn a_word_is_taken_as_it_is_and_as_it_is_shown() {
    let observation = Fixture::new()
        .executable("/usr/sbin/d")
        .file(b"/srv/a\xFF\n", Operation::Read, "ok")
        .file("/srv/back\\nslash", Operation::Read, "ok")
        .observation();
    for (word, expected) in [
        ("/srv/a\\xFF\\n", "/srv/a\\xFF\\n"),
        ("/srv/back\\\\nslash", "/srv/back\\\\nslash"),
        // As the kernel has it.
        ("/srv/back\\nslash", "/srv/back\\\\nslash"),
    ] {
        let expected = format!("/usr/sbin/d: read ok {expected}");
        assert_eq!(facts(&observation, word), [expected], "{word}");
    }
    let raw = Word::of(b"/srv/a\xFF\n", &observation);
    assert!(!explained(&observation, Some(&raw), &Judged::new()).is_empty());
}

#[test]
fn a_path_is_looked_up_where_its_links_lead() {
    let observation = Fixture::new()
        .link("/var/run", "/run")
        .executable("/usr/sbin/d")
        .file("/run/d/pid", Operation::Read, "ok")
        .file_asked(
            "/proc/7/status",
            Some("/proc/self/status"),
            Operation::Read,
            "ok",
        )
        .observation();
    let text = said(&observation, "/var/run/d");
    assert!(
        text.starts_with("/var/run/d is looked up as /run/d\n/usr/sbin/d: read ok /run/d/pid\n"),
        "{text}"
    );
    let text = said(&observation, "/proc/self/status");
    assert!(
        text.starts_with(
            "/proc/self/status is recorded as /proc/7/status\n/usr/sbin/d: read ok /proc/7/status\n"
        ),
        "{text}"
    );
    let text = said(&observation, "/var/run/e");
    assert!(
        text.starts_with("/var/run/e is looked up as /run/e\nnot seen in 1 run of "),
        "{text}"
    );
    assert!(!said(&observation, "/run/d").contains("looked up"));
    // The other way round: a name that was not found is kept as it was asked for.
    let mut observation = Fixture::new()
        .link("/var/run", "/run")
        .executable("/usr/sbin/d")
        .file("/var/run/x", Operation::Stat, "ENOENT")
        .observation();
    for run in observation.runs.values_mut() {
        for facts in run.executables.values_mut() {
            for file in facts.files.values_mut() {
                file.resolved = false;
            }
        }
    }
    let text = said(&observation, "/run/x");
    assert!(
        text.starts_with("/run/x is recorded as /var/run/x\n/usr/sbin/d: stat ENOENT /var/run/x\n"),
        "{text}"
    );
}

#[test]
fn a_process_has_another_number_each_time() {
    let observation = Fixture::new()
        .executable("/usr/sbin/d")
        .file("/proc/7/status", Operation::Read, "ok")
        .file("/proc/8/fd", Operation::Read, "ok")
        .observation();
    let fact = "/usr/sbin/d: read ok /proc/7/status\n";
    assert!(said(&observation, "/proc/7/status").starts_with(fact));
    assert!(said(&observation, "/proc/PID/status").starts_with(fact));
    let other = said(&observation, "/proc/9/status");
    let remark = "/proc/9/status is looked up as /proc/PID/status\n";
    assert!(other.starts_with(&format!("{remark}{fact}")), "{other}");
    assert!(!asked(&observation, "/proc/9/maps").unwrap().0);
    assert!(!asked(&observation, "/proc/meminfo").unwrap().0);
}

#[test]
fn a_word_that_is_only_allowed_was_not_seen() {
    let observation = observed();
    let request = Request::default();
    let adapted = unchanged(&observation);
    let plan = request.plan(&observation, &adapted);
    let calls = plan.firejail().syscalls.kept().unwrap().iter();
    let mut unasked = calls.filter(|item| item.evidence.executables.is_empty());
    let unasked = unasked.next().unwrap();
    let (is_there, text) = asked(&observation, &unasked.value).unwrap();
    let (name, note) = (&unasked.value, unasked.note.as_ref().unwrap());
    assert!(
        !is_there && text.starts_with("not seen in 2 runs of test\n"),
        "{text}"
    );
    let line = format!("but profile: allowed by seccomp.keep {name}: {note}\n");
    assert!(text.contains(&line), "{text}");
    // It was seen, and that is enough.
    assert!(!said(&observation, "read").contains("but profile"));
    assert!(!said(&observation, "swapon").contains("but profile"));
}

#[test]
fn what_cannot_be_asked_for_is_an_error() {
    let observation = observed();
    for word in [
        "",
        "frobnicate",
        "CAP_FROB",
        "AF_CHOWN",
        "DynamicUser",
        "$x",
    ] {
        let error = asked(&observation, word).unwrap_err().to_string();
        assert!(
            error.contains("was not seen, and is nothing that can be asked for"),
            "{error}"
        );
    }
    for word in [
        "swapon",
        "CAP_CHOWN",
        "chown",
        "AF_NETROM",
        "seqpacket",
        "mmap-write-exec",
        "/nosuch",
        "-/nosuch",
        "$600",
        "inet 192.0.2.1:80",
        "writable-etc",
    ] {
        assert!(!asked(&observation, word).unwrap().0, "{word}");
    }
}

#[test]
fn a_fact_about_arguments_of_a_later_version_is_not_judged() {
    let mut observation = observed();
    for run in observation.runs.values_mut() {
        for facts in run.executables.values_mut() {
            let name = crate::observation::Word::new("frobnicated").unwrap();
            facts
                .arguments
                .insert(name, crate::observation::Seen::default());
        }
    }
    let text = said(&observation, "frobnicated");
    let unknown = "not judged: this version of harden does not know this fact about arguments";
    assert!(text.contains(&format!("  drop-in: {unknown}\n")), "{text}");
    assert!(text.contains(&format!("  profile: {unknown}\n")), "{text}");
}

#[test]
fn a_directory_in_the_place_of_names_may_hold_the_word() {
    let mut observation = Fixture::new()
        .executable("/usr/sbin/d")
        .file("/srv/d", Operation::Read, "ok")
        .observation();
    for run in observation.runs.values_mut() {
        for facts in run.executables.values_mut() {
            for file in facts.files.values_mut() {
                file.names = 1;
            }
        }
    }
    let text = said(&observation, "/srv/d/1");
    assert!(
        text.contains("but /srv/d is in the place of 1 name in it, "),
        "{text}"
    );
    assert!(!said(&observation, "/srv/database").contains("in the place of"));
}

#[test]
fn a_whole_line_is_asked_for_by_its_element() {
    let observation = observed();
    for line in [
        "seccomp.keep read",
        "SystemCallFilter=read",
        "SystemCallFilter=~read",
    ] {
        let text = said(&observation, line);
        assert!(
            text.starts_with("/usr/sbin/d: native read\n"),
            "{line}: {text}"
        );
    }
    let text = said(&observation, "ReadWritePaths=-/run/d");
    assert!(
        text.starts_with("/usr/sbin/d: create ok /run/d/pid\n"),
        "{text}"
    );
    assert!(asked(&observation, "ReadWritePaths=").unwrap().0);
}

#[test]
fn a_call_by_its_number_has_its_name() {
    let observation = Fixture::new()
        .executable("/usr/sbin/d")
        .syscalls(&["read", "cachestat"])
        .observation();
    let adapted = unchanged(&observation);
    let mut request = Request::default();
    request.target.syscalls = Some(["read".to_owned()].into());
    let plan = request.plan(&observation, &adapted);
    let (_, text) = answer(&plan, Some(b"$451")).unwrap();
    assert!(
        text.contains("profile: allowed by seccomp.keep $451, the number of cachestat\n"),
        "{text}"
    );
}
