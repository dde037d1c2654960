use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::super::arbitrary::{observation, text};
use super::super::{Inodes, RunKind, Word};
use super::*;

const EXAMPLE: &str = include_str!("../../../tests/fixtures/observation.json");

/// The message for the example with `from` replaced by `to`.
fn refusal(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "the example has no {from}");
    let json = EXAMPLE.replacen(from, to, 1);
    from_json(json.as_bytes()).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn any_text_survives_json(text in text()) {
        let json = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text);
    }

    #[test]
    fn a_text_is_shown_on_one_visible_line(text in text()) {
        prop_assert!(!text.to_string().chars().any(is_hidden));
    }

    #[test]
    fn any_observation_survives_its_file(observation in observation()) {
        let json = to_json(&observation).unwrap();
        let back = from_json(&json).unwrap();
        prop_assert_eq!(&back, &observation);
        prop_assert_eq!(to_json(&back).unwrap(), json);
    }

    #[test]
    fn any_bytes_are_an_observation_or_one_short_line(
        at in 0..EXAMPLE.len(),
        junk in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut json = EXAMPLE.as_bytes().to_vec();
        json.splice(at..(at + junk.len()).min(EXAMPLE.len()), junk);
        if let Err(error) = from_json(&json) {
            let line = error.to_string();
            prop_assert!(line.len() < 2000 && !line.chars().any(is_hidden), "{}", line);
        }
    }
}

#[test]
fn a_space_stands_for_itself() {
    assert_eq!(
        Text::from("inet 127.0.0.1:80").to_string(),
        "inet 127.0.0.1:80"
    );
    assert_eq!(
        Text::from(b"a\\b\n\xFF\xC2\x9Bm").to_string(),
        r"a\\b\n\xFF\xC2\x9Bm"
    );
}

#[test]
fn every_truncation_is_called_so() {
    for end in 0..EXAMPLE.trim_end().len() {
        let error = from_json(&EXAMPLE.as_bytes()[..end]).unwrap_err();
        assert!(
            matches!(error, FormatError::Truncated { .. }),
            "{end}: {error}"
        );
    }
}

#[test]
fn a_file_of_the_second_schema_lacks_what_confined_it() {
    let second = include_str!("../../../tests/fixtures/observation-schema-2.json");
    let mut present = from_json(EXAMPLE.as_bytes()).unwrap();
    let filters = |observation: &mut Observation| {
        let runs = observation.runs.values_mut();
        runs.flat_map(|run| std::mem::take(&mut run.filters))
            .count()
    };
    assert_eq!(filters(&mut present), 1);
    assert_eq!(
        from_json(second.as_bytes()).unwrap(),
        as_of_schema_3(present)
    );
}

#[test]
fn a_file_of_the_third_schema_lacks_errors_and_lists() {
    let third = include_str!("../../../tests/fixtures/observation-schema-3.json");
    let present = from_json(EXAMPLE.as_bytes()).unwrap();
    let read = from_json(third.as_bytes()).unwrap();
    assert_ne!(read, present);
    assert_eq!(read, as_of_schema_3(present));
}

#[test]
fn a_file_of_the_fourth_schema_lacks_what_capabilities_were_for() {
    let fourth = include_str!("../../../tests/fixtures/observation-schema-4.json");
    let present = from_json(EXAMPLE.as_bytes()).unwrap();
    let read = from_json(fourth.as_bytes()).unwrap();
    assert_ne!(read, present);
    assert_eq!(read, as_of_schema_4(present));
}

#[test]
fn in_a_file_of_the_fifth_schema_x32_may_have_been_answered() {
    let fifth = include_str!("../../../tests/fixtures/observation-schema-5.json");
    let present = as_of_schema_6(from_json(EXAMPLE.as_bytes()).unwrap());
    assert_eq!(from_json(fifth.as_bytes()).unwrap(), present);
    let with_x32 = fifth.replacen("\"native\": {", "\"x32\": {", 1);
    let read = from_json(with_x32.as_bytes()).unwrap();
    let mut programs = read.runs.values().flat_map(|run| run.executables.values());
    let has = |facts: &super::super::Executable| {
        let mut all = facts.arguments.keys();
        all.any(|name| name.as_str() == "x32-answered")
    };
    assert!(programs.any(has));
}

#[test]
fn a_file_of_the_sixth_schema_lacks_file_capabilities() {
    let sixth = include_str!("../../../tests/fixtures/observation-schema-6.json");
    let present = from_json(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(
        from_json(sixth.as_bytes()).unwrap(),
        as_of_schema_6(present)
    );
}

/// The present example without what is new in it.
fn as_of_schema_6(mut example: Observation) -> Observation {
    let runs = example.runs.values_mut();
    let programs = runs.flat_map(|run| run.executables.values_mut());
    let known = programs.map(|facts| std::mem::take(&mut facts.file_capabilities).len());
    assert_eq!(known.sum::<usize>(), 1);
    example
}

/// The same without what was new in schema 5.
fn as_of_schema_4(example: Observation) -> Observation {
    let mut example = as_of_schema_6(example);
    let mut known = 0;
    let runs = example.runs.values_mut();
    for facts in runs.flat_map(|run| run.executables.values_mut()) {
        let calls = std::mem::take(&mut facts.capability_calls);
        let objects = std::mem::take(&mut facts.capability_objects);
        known += calls.len() + objects.len();
    }
    assert_eq!(known, 2);
    example
}

/// The same without what was new in schema 4.
fn as_of_schema_3(example: Observation) -> Observation {
    let mut example = as_of_schema_4(example);
    let runs = example.runs.values_mut();
    for facts in runs.flat_map(|run| run.control.values_mut().flat_map(BTreeMap::values_mut)) {
        for seen in facts.syscalls.values_mut().flat_map(BTreeMap::values_mut) {
            assert!(seen.errors().is_some());
            seen.set_counts(None, None);
        }
        for file in facts.files.values_mut() {
            assert!(file.inodes.iter().all(|inode| inode.acl.is_some()));
            file.inodes = Inodes::default();
        }
    }
    example
}

#[test]
fn another_schema_is_named_before_anything_else_is_judged() {
    let newer = from_json(br#"{"shape": "unknown", "schema": 9}"#).unwrap_err();
    assert_eq!(
        newer.to_string(),
        ": written by a newer harden (schema 9, this one reads 1 to 8): update harden"
    );
    let older = from_json(br#"{"schema": 0}"#).unwrap_err();
    assert!(older.to_string().contains("an older harden"), "{older}");
    let other = from_json(br#"{"defaultAction": "SCMP_ACT_ERRNO"}"#).unwrap_err();
    assert!(matches!(other, FormatError::NoSchema));
}

#[test]
fn errors_name_line_column_and_the_fault() {
    for (from, to, says) in [
        (
            "\"uid\": 0",
            "\"uid\": \"root\"",
            "invalid type: string \"root\", expected u32",
        ),
        (
            "\"uid\": 0",
            "\"uid\": 0, \"gid\": 0",
            "unknown field `gid`",
        ),
        ("\"openat\":", "\"openat\\nshell none\":", "is not a name"),
        (
            "\"/etc/nginx/nginx.conf\": ",
            "\"nginx.conf\": ",
            "\"nginx.conf\" is not an absolute path",
        ),
        (
            "\"/etc/nginx/nginx.conf\": ",
            "\"/\\u0000\": ",
            "holds a NUL byte",
        ),
        (
            "raw_tp:sys_exit",
            "raw_tp\\nshell none",
            "holds a control character",
        ),
        ("\"start-pre\"", "\"start\"", "unknown variant `start`"),
        (
            "\"/usr/bin/mkdir\": ",
            "\"mkdir\": ",
            "\"mkdir\" is not an absolute path",
        ),
        ("\"invocation\",", "\"test\",", "unknown variant `test`"),
    ] {
        let message = refusal(from, to);
        assert!(message.contains(says), "{message}");
        let place = EXAMPLE[..EXAMPLE.find(from).unwrap()].lines().count();
        assert!(
            message.starts_with(&format!(":{place}:")),
            "line {place}: {message}"
        );
    }
}

#[test]
fn deep_nesting_is_refused() {
    for deep in ["[".repeat(1 << 20), "{\"a\":".repeat(1 << 20)] {
        for json in [deep.clone(), format!("{{\"schema\": 2, \"name\": {deep}")] {
            assert!(from_json(json.as_bytes()).is_err());
        }
    }
}

#[test]
fn no_object_may_name_a_key_twice() {
    // Each object of the example, wherever it is, with its first key repeated.
    fn objects(value: &Value, place: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if !map.is_empty() {
                    found.push(place.to_owned());
                }
                for (key, value) in map {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    objects(value, &format!("{place}/{key}"), found);
                }
            }
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    objects(value, &format!("{place}/{index}"), found);
                }
            }
            _ => {}
        }
    }
    let example: Value = serde_json::from_str(EXAMPLE).unwrap();
    let mut places = Vec::new();
    objects(&example, "", &mut places);
    assert!(
        places.len() > 40,
        "the example should show every kind of map"
    );
    for place in places {
        let mut doubled = example.clone();
        let map = doubled
            .pointer_mut(&place)
            .unwrap()
            .as_object_mut()
            .unwrap();
        let (key, value) = map.iter().next().unwrap();
        let (key, value) = (serde_json::to_string(key).unwrap(), value.to_string());
        map.insert("SECOND".to_owned(), Value::Null);
        let json = doubled
            .to_string()
            .replace("\"SECOND\":null", &format!("{key}:{value}"));
        let error = from_json(json.as_bytes()).unwrap_err().to_string();
        assert!(
            error.contains("is there twice") || error.contains("duplicate field"),
            "{place}: {error}"
        );
    }
}

#[test]
fn two_spellings_of_a_key_are_one_key() {
    let message = refusal(
        "\"/etc/nginx/nginx.conf\": ",
        "\"/etc\\\\x2Fnginx/nginx.conf\": {}, \"/etc/nginx/nginx.conf\": ",
    );
    assert!(message.contains("is there twice"), "{message}");
}

#[test]
fn a_message_cannot_steer_the_terminal_or_fill_it() {
    let message = refusal(
        "\"uid\"",
        &format!("\"\\u001b[2J\\u202e{}\"", "x".repeat(1 << 20)),
    );
    assert!(
        message.len() < 1000 && !message.chars().any(is_hidden),
        "{message}"
    );
}

#[test]
fn the_limit_holds_against_what_lies_about_its_size() {
    assert_eq!(read_at_most(4, &b"1234"[..], 0).unwrap().unwrap(), b"1234");
    assert!(read_at_most(4, &b"12345"[..], 0).unwrap().is_none());
    assert!(read_at_most(4, io::repeat(b' '), 2).unwrap().is_none());
    assert!(read_at_most(4, io::empty(), 5).unwrap().is_none());
}

#[test]
fn a_huge_file_is_refused_by_its_size() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 40).unwrap();
    assert!(matches!(read(file.path()), Err(ReadError::TooLarge { .. })));
    file.as_file().set_len(SIZE_LIMIT + 1).unwrap();
    assert!(matches!(read(file.path()), Err(ReadError::TooLarge { .. })));
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let mut out = Limited {
        out: Vec::new(),
        left: 4,
    };
    out.write_all(b"1234").unwrap();
    let refused = out.write_all(b"5").unwrap_err().to_string();
    assert_eq!(out.out, b"1234");
    assert!(refused.contains("record the work in parts"), "{refused}");
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RWXU).unwrap();
    for path in [
        &fifo,
        directory.path(),
        Path::new("/dev/zero"),
        Path::new("/dev/null"),
    ] {
        assert!(
            matches!(read(path), Err(ReadError::NotAFile { .. })),
            "{path:?}"
        );
    }
}

#[test]
fn errors_of_the_system_say_which_file() {
    let missing = read(Path::new("/nonexistent/run\n.json"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("cannot read /nonexistent/run\\n.json: No such file"),
        "{missing}"
    );
    assert!(missing.ends_with(": check the name"), "{missing}");
}

#[test]
fn a_file_of_the_first_schema_is_read_and_written_in_the_present_one() {
    let first = include_str!("../../../tests/fixtures/observation-schema-1.json");
    let migrated = from_json(first.as_bytes()).unwrap();
    assert_eq!(migrated.schema, SCHEMA);
    let run = migrated.runs.values().next().unwrap();
    assert_eq!(run.kind, RunKind::Command);
    assert_eq!(run.status, Some(0));
    assert_eq!((&run.label, &run.invocation), (&None, &None));
    assert!(run.stands_for.is_empty() && run.control.is_empty());
    // All that schema 1 knew is the same in the present fixture.
    let present = as_of_schema_4(from_json(EXAMPLE.as_bytes()).unwrap());
    let other = present.runs.values().next().unwrap();
    assert_eq!(run.executables, other.executables);
    assert_eq!(
        (&run.hooks, &run.losses, &run.symlinks, &run.host),
        (&other.hooks, &other.losses, &other.symlinks, &other.host)
    );
    let json = to_json(&migrated).unwrap();
    assert_eq!(from_json(&json).unwrap(), migrated);
    assert!(json.starts_with(b"{\n  \"schema\": 8,"));

    // As strict as ever, and what is new is no part of the old.
    for (from, to, says) in [
        ("\"uid\": 0", "\"uid\": 0, \"uid\": 1", "duplicate field"),
        (
            "\"uid\": 0",
            "\"uid\": 0, \"kind\": \"mark\"",
            "unknown field `kind`",
        ),
        ("\"status\": 0", "\"status\": null", "expected i32"),
        ("\"/var/www\":", "\"var/www\":", "is not an absolute path"),
    ] {
        let json = first.replacen(from, to, 1);
        assert_ne!(json, first);
        let message = from_json(json.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn a_run_that_another_stands_for_is_that_other() {
    let example = from_json(EXAMPLE.as_bytes()).unwrap();
    let mut double = example.clone();
    let (_, mut run) = double.runs.pop_first().unwrap();
    let (id, other) = ("1c2b7a90-0f3e-4b8d-8e55-7d1a3c9f2e64", run.clone());
    run.stands_for.clear();
    double.runs.insert(Word::new("a").unwrap(), other);
    double.runs.insert(Word::new(id).unwrap(), run);
    let read = from_json(&to_json(&double).unwrap()).unwrap();
    let ids: Vec<_> = read.runs.keys().map(Word::as_str).collect();
    assert_eq!(ids, [id]);
}

#[test]
fn what_is_written_is_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let example = from_json(EXAMPLE.as_bytes()).unwrap();
    std::fs::write(file.path(), to_json(&example).unwrap()).unwrap();
    assert_eq!(read(file.path()).unwrap(), example);
}

#[test]
fn the_example_is_exactly_what_would_be_written() {
    let example = from_json(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(
        String::from_utf8(to_json(&example).unwrap()).unwrap(),
        EXAMPLE
    );
}
