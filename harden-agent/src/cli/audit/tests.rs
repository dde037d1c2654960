use std::path::Path;

use proptest::prelude::*;

use super::printed;
use crate::observation::Observation;
use crate::policy::Overrides;
use crate::policy::fixture::Fixture;

const LINE: &str = "type=SECCOMP msg=audit(1428331621.110:4): auid=1000 uid=1000 gid=1000 ses=1 pid=4643 comm=\"restd\" \
                    exe=\"/usr/bin/restd\" sig=31 arch=c000003e syscall=201 compat=0 ip=0x7f9a25feebed code=0x0";

fn observation() -> Observation {
    Fixture::new()
        .executable("/usr/bin/restd")
        .syscalls(&["read"])
        .observation()
}

fn both(log: &[u8]) -> [String; 2] {
    printed(log, &[observation()], Path::new("/no/such/directory")).unwrap()
}

/// What holds for every log: each line is one of ours, and what is proposed can be read as overrides.
fn check([text, json]: &[String; 2]) {
    assert!(
        !text.contains(|one: char| one != '\n' && one.is_control()),
        "{text:?}"
    );
    let words = ["kind"];
    for line in json.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(words.iter().all(|word| value.get(word).is_some()), "{line}");
    }
    let proposed = text.split("\n[allow]\n").nth(1);
    if let Some(proposed) = proposed.and_then(|rest| rest.lines().next()) {
        Overrides::parse(&format!("[allow]\n{proposed}\n")).unwrap();
    }
}

#[test]
fn a_log_of_elsewhere_is_joined_to_the_observation() {
    let printed = both(LINE.as_bytes());
    check(&printed);
    let name = observation().name.to_string();
    let expected = format!(
        "{name}: /usr/bin/restd: time (x86_64)\n  the thread was killed: once, 2015-04-06T14:47:01.11Z\n  \
         unit: the observation has this program\n  proposed: allow time\n"
    );
    assert!(printed[0].starts_with(&expected), "{}", printed[0]);
    let file = format!("/no/such/directory/{name}.toml:\n[allow]\nsyscalls = [\"time\"]\n");
    assert!(printed[0].contains(&file), "{}", printed[0]);
    let first: serde_json::Value =
        serde_json::from_str(printed[1].lines().next().unwrap()).unwrap();
    assert_eq!(first["proposed"]["allow"], "time");
    assert_eq!(first["unit_from"], "observation");
    assert_eq!(first["action"], "kill-thread");
    assert!(first["reason"].is_null());
}

#[test]
fn a_program_of_no_observation_is_of_no_unit() {
    let log = LINE.replace("/usr/bin/restd", "/usr/bin/other");
    let [text, json] = both(log.as_bytes());
    assert!(
        text.starts_with("unknown unit: /usr/bin/other: time (x86_64)\n"),
        "{text}"
    );
    assert!(!text.contains("[allow]"), "{text}");
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert!(first["proposed"].is_null() && first["unit"].is_null());
    assert!(!first["reason"].is_null());
}

#[test]
fn an_empty_log_says_what_it_cannot_show() {
    let [text, _] = both(b"");
    for said in [
        "no record of",
        "a log: no records",
        "seccomp-error-action log",
        "SystemCallLog=",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let [text, json] = both(
        b"[1.2] kauditd_printk_skb: 12 callbacks suppressed\ntype=SECCOMP msg=audit(1.000:1): x\n",
    );
    assert!(
        text.contains("1 in which no call can be made out"),
        "{text}"
    );
    assert!(
        text.contains("missing: 12 lines that the kernel did not write"),
        "{text}"
    );
    assert!(json.contains("\"suppressed\":12"), "{json}");
}

#[test]
fn a_name_is_never_another_line() {
    // `/a\nnginx.service: x`, a terminal's escape, an invisible character.
    for hex in ["2F610A6E67696E783A2078", "2F1B5B324A", "2FE280AE61"] {
        let log = LINE
            .replace("\"/usr/bin/restd\"", hex)
            .replace("\"restd\"", hex);
        let printed = both(log.as_bytes());
        check(&printed);
        let findings = printed[0].split("\n\n").next().unwrap();
        assert_eq!(findings.lines().count(), 3, "{findings}");
    }
}

proptest! {
    #[test]
    fn no_log_is_too_strange(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..8)), 0..6),
    ) {
        let mut log = format!("{LINE}\naudit: {LINE}\n{{\"_TRANSPORT\":\"kernel\",\"MESSAGE\":\"x\"}}\n").into_bytes();
        for (at, noise) in cuts {
            let at = at.index(log.len());
            let end = log.len().min(at + noise.len() / 2);
            log.splice(at..end, noise);
        }
        check(&both(&log));
    }
}
