use std::{collections::BTreeMap, process::Command};

use harden_common::ExecutableId;
use jiff::Timestamp;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::observation::{ControlCommand, Word};

const LAYOUT: u64 = 42;
use crate::observation::arbitrary::{host, kind, text, word};

fn losses() -> impl Strategy<Value = BTreeMap<Word, u64>> {
    btree_map(word(), any::<u64>(), 0..3)
}

fn record() -> impl Strategy<Value = Record> {
    let bytes = || vec(any::<u8>(), 0..40);
    let owner = (any::<[u64; 3]>(), any::<[u32; 3]>()).prop_map(|(long, short)| Owner {
        cgroup: long[0],
        executable: ExecutableId {
            inode: long[1],
            device: short[0],
            generation: short[1],
        },
        run: long[2],
        command: short[2],
    });
    let role = option::of(Just(ControlCommand::Reload));
    prop_oneof![
        (
            word(),
            word(),
            host(),
            btree_map("[ -~]{0,8}", "[ -~]{0,8}", 0..2)
        )
            .prop_map(|(id, boot, host, hooks)| Record::Instance {
                id,
                boot,
                started: Timestamp::UNIX_EPOCH,
                host,
                hooks,
            }),
        (any::<[u64; 3]>(), bytes()).prop_map(|([id, parent, born], path)| Record::Cgroup {
            id,
            parent,
            born,
            path,
        }),
        any::<[u64; 2]>().prop_map(|[cgroup, time]| Record::Gone { cgroup, time }),
        (any::<u32>(), owner).prop_map(|(slot, owner)| Record::Slot { slot, owner }),
        bytes().prop_map(Record::Item),
        (any::<u32>(), vec(any::<u16>(), 0..9))
            .prop_map(|(slot, facts)| Record::Final { slot, facts }),
        (
            any::<[u64; 2]>(),
            word(),
            kind(),
            option::of(text()),
            option::of(text())
        )
            .prop_map(|([number, time], id, kind, label, unit)| Record::Run {
                number,
                id,
                kind,
                label,
                unit,
                time,
            }),
        (any::<u64>(), word(), option::of(word())).prop_map(|(cgroup, id, invocation)| {
            Record::Invocation {
                cgroup,
                id,
                invocation,
            }
        }),
        (any::<u64>(), btree_set(word(), 0..4))
            .prop_map(|(cgroup, filters)| Record::Filtered { cgroup, filters }),
        (
            any::<u64>(),
            word(),
            word(),
            any::<u64>(),
            btree_set(any::<u32>(), 0..4),
        )
            .prop_map(|(cgroup, id, invocation, time, before)| Record::Again {
                cgroup,
                id,
                invocation,
                time,
                before,
            }),
        (
            any::<u64>(),
            any::<u32>(),
            role,
            vec(text(), 0..3),
            any::<Option<u32>>()
        )
            .prop_map(|(cgroup, command, role, argv, uid)| Record::Command {
                cgroup,
                command,
                role,
                argv,
                uid,
            }),
        any::<(u64, Option<i32>)>().prop_map(|(cgroup, status)| Record::Ended { cgroup, status }),
        loss(),
    ]
}

fn loss() -> impl Strategy<Value = Record> {
    prop_oneof![
        (losses(), losses(), any::<u64>()).prop_map(|(all, unowned, time)| Record::Losses {
            all,
            unowned,
            time,
        }),
        (any::<u32>(), losses()).prop_map(|(slot, losses)| Record::Lost { slot, losses }),
        (any::<u64>(), losses(), any::<u64>()).prop_map(|(payer, losses, time)| Record::LostOf {
            payer,
            losses,
            time,
        }),
    ]
}

fn begun(directory: &Path) -> Journal {
    let mut journal = Journal::open(directory, LAYOUT).unwrap();
    journal.rotate(std::iter::empty()).unwrap();
    journal
}

/// All records of a directory, and where it could not be read.
fn read(directory: &Path) -> (Vec<Record>, Vec<Fault>) {
    let mut records = Vec::new();
    let mut journal = Journal::open(directory, LAYOUT).unwrap();
    let replay = journal.replay(|record| records.push(record)).unwrap();
    assert_eq!(replay.records, records.len() as u64);
    (records, replay.faults)
}

fn items(numbers: std::ops::Range<u8>) -> Vec<Record> {
    numbers
        .map(|number| Record::Item(vec![number; 100]))
        .collect()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_appended_is_replayed(
        tables in vec(record(), 0..6),
        appended in vec(record(), 0..12),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), LAYOUT).unwrap();
        journal.rotate(tables.iter().cloned()).unwrap();
        for record in &appended {
            match record {
                Record::Item(item) => journal.append_item(item).unwrap(),
                record => journal.append(record).unwrap(),
            }
        }
        let size = std::fs::metadata(directory.path().join("journal.0")).unwrap().len();
        prop_assert_eq!(journal.size(), size);
        let (records, faults) = read(directory.path());
        prop_assert_eq!(records, [tables, appended].concat());
        prop_assert!(faults.is_empty(), "{:?}", faults);
    }

    /// Cut anywhere, a file gives the records that are whole, and says how much is not.
    #[test]
    fn a_torn_end_costs_the_torn_record_alone(records in vec(record(), 1..6), cut in 0..4096_usize) {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = begun(directory.path());
        let mut ends = vec![journal.size()];
        for record in &records {
            journal.append(record).unwrap();
            ends.push(journal.size());
        }
        let path = directory.path().join("journal.0");
        let cut = cut as u64 % (journal.size() + 1);
        File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let (read, faults) = read(directory.path());
        let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
        prop_assert_eq!(&read[..], &records[..whole]);
        if ends.contains(&cut) {
            prop_assert!(faults.is_empty());
        } else {
            prop_assert_eq!(faults.len(), 1);
            prop_assert_eq!(faults[0].kind, FaultKind::Torn);
            prop_assert_eq!(faults[0].offset + faults[0].dropped, cut);
        }
    }

    /// No change of a byte is taken for a record; all before it are had.
    #[test]
    fn a_corrupt_middle_is_told_of_and_nothing_after_it_is_taken(
        records in vec(record(), 1..6),
        at in any::<usize>(),
        bits in 1..=u8::MAX,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = begun(directory.path());
        let mut ends = vec![journal.size()];
        for record in &records {
            journal.append(record).unwrap();
            ends.push(journal.size());
        }
        let path = directory.path().join("journal.0");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= bits;
        std::fs::write(&path, &bytes).unwrap();
        let (read, faults) = read(directory.path());
        let before: Vec<_> = ends.iter().filter(|end| **end <= at as u64).collect();
        prop_assert_eq!(&read[..], &records[..before.len().saturating_sub(1)]);
        prop_assert_eq!(faults.len(), 1);
        prop_assert_eq!(faults[0].offset, before.last().map_or(0, |end| **end));
        prop_assert_eq!(faults[0].dropped, bytes.len() as u64 - faults[0].offset);
        // Even where the length was changed: what follows shows that the file did not end there.
        if faults[0].offset < ends[ends.len() - 2] {
            prop_assert_ne!(faults[0].kind, FaultKind::Torn);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(junk in vec(any::<u8>(), 0..200), headed in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let head = if headed { head(LAYOUT) } else { Vec::new() };
        std::fs::write(directory.path().join("journal.7"), [head, junk.clone()].concat()).unwrap();
        let _ = read(directory.path());
        let _ = Record::decode(&junk);
    }

    /// The same behind a right checksum, with every kind of record.
    #[test]
    fn any_payload_is_a_record_or_none(tag in 0..8_u8, junk in vec(any::<u8>(), 0..80)) {
        if let Some(record) = Record::decode(&[&[tag], &junk[..]].concat()) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes).unwrap();
            prop_assert_eq!(Record::decode(&bytes), Some(record));
        }
    }
}

#[test]
fn a_length_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    for (length, kind) in [
        (u32::MAX, FaultKind::Corrupt),
        (RECORD_LIMIT + 1, FaultKind::Corrupt),
        (0, FaultKind::Corrupt),
        (RECORD_LIMIT, FaultKind::Torn),
    ] {
        let bytes = [&head(LAYOUT)[..], &length.to_le_bytes(), &[0; 40]].concat();
        std::fs::write(directory.path().join("journal.0"), bytes).unwrap();
        let (records, faults) = read(directory.path());
        assert!(records.is_empty());
        assert_eq!((faults[0].kind, faults[0].offset), (kind, 34), "{length}");
    }
}

#[test]
fn another_format_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.3");
    std::fs::write(&path, "harden journal 2 000000000000002a\nwhatever").unwrap();
    let (_, faults) = read(directory.path());
    assert_eq!(faults[0].kind, FaultKind::Foreign);
    assert!(faults[0].to_string().contains("42 bytes"), "{}", faults[0]);
    let _journal = begun(directory.path());
    assert_eq!(names(directory.path()), ["journal.3", "journal.4"]);
    assert!(
        std::fs::read(path)
            .unwrap()
            .starts_with(b"harden journal 2")
    );
}

#[test]
fn rotations_follow_each_other_and_the_older_can_be_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = begun(directory.path());
    for record in items(0..3) {
        journal.append(&record).unwrap();
    }
    journal.rotate(items(10..12).into_iter()).unwrap();
    journal.append_item(&[12; 100]).unwrap();
    // A later life goes on behind the highest number, above nine too.
    for _ in 2..12 {
        journal = begun(directory.path());
    }
    journal.append_item(&[13; 100]).unwrap();
    let (records, faults) = read(directory.path());
    assert_eq!(records, [items(0..3), items(10..14)].concat());
    assert!(faults.is_empty());
    assert_eq!(names(directory.path()).len(), 12);

    journal.drop_older().unwrap();
    assert_eq!(names(directory.path()), ["journal.11"]);
    journal.append_item(&[14; 100]).unwrap();
    assert_eq!(read(directory.path()).0, items(13..15));
    journal.drop_older().unwrap();
}

#[test]
fn a_fault_in_one_file_leaves_the_next_readable() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = begun(directory.path());
    journal.append_item(&[0; 100]).unwrap();
    let path = directory.path().join("journal.0");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend(b"torn");
    std::fs::write(&path, bytes).unwrap();
    journal.rotate(items(1..2).into_iter()).unwrap();
    let (records, faults) = read(directory.path());
    assert_eq!(records, items(0..2));
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].kind, faults[0].dropped), (FaultKind::Torn, 4));
}

#[test]
fn a_corrupt_file_is_kept_when_the_others_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = begun(directory.path());
    journal.append_item(&[0; 100]).unwrap();
    journal.rotate(items(1..2).into_iter()).unwrap();
    let path = directory.path().join("journal.0");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    drop(journal);

    let mut journal = Journal::open(directory.path(), LAYOUT).unwrap();
    let replay = journal.replay(|_| {}).unwrap();
    assert_eq!(replay.faults[0].kind, FaultKind::Corrupt);
    journal.rotate(std::iter::empty()).unwrap();
    journal.drop_older().unwrap();
    let kept = "journal.0.corrupt-1";
    assert_eq!(names(directory.path()), [kept, "journal.2"]);
    assert_eq!(std::fs::read(directory.path().join(kept)).unwrap(), bytes);
}

#[test]
fn an_earlier_life_s_file_is_not_appended_to() {
    let directory = tempfile::tempdir().unwrap();
    drop(begun(directory.path()));
    let mut journal = Journal::open(directory.path(), LAYOUT).unwrap();
    let refused = journal.append_item(&[1]).unwrap_err();
    assert!(matches!(refused, JournalError::NotBegun), "{refused}");
    assert!(matches!(journal.drop_older(), Err(JournalError::NotBegun)));
    assert!(matches!(journal.check(), Err(JournalError::NotBegun)));
    assert_eq!(names(directory.path()), ["journal.0"]);
}

#[test]
fn a_rotation_that_was_cut_off_never_was() {
    let directory = tempfile::tempdir().unwrap();
    drop(begun(directory.path()));
    std::fs::write(directory.path().join(TEMPORARY), "half").unwrap();
    let mut journal = Journal::open(directory.path(), LAYOUT).unwrap();
    assert_eq!(names(directory.path()), ["journal.0"]);
    journal.rotate(std::iter::empty()).unwrap();
    assert_eq!(names(directory.path()), ["journal.0", "journal.1"]);
}

#[test]
fn files_that_somebody_put_there_are_not_in_the_way_and_not_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = begun(directory.path());
    std::fs::write(directory.path().join("journal.1"), head(LAYOUT)).unwrap();
    journal.rotate(std::iter::empty()).unwrap();
    journal.drop_older().unwrap();
    assert_eq!(names(directory.path()), ["journal.1", "journal.2"]);
}

#[test]
fn names_that_are_nearly_right_are_others() {
    for (name, expected) in [
        ("journal.0", Some(0)),
        ("journal.18446744073709551615", Some(u64::MAX)),
        ("journal.18446744073709551616", None),
        ("journal.01", None),
        ("journal.+1", None),
        ("journal.", None),
        ("journal.1.corrupt-1", None),
        ("Journal.1", None),
    ] {
        assert_eq!(number(name), expected, "{name}");
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(format!("journal.{}", u64::MAX)), "").unwrap();
    let mut journal = Journal::open(directory.path(), LAYOUT).unwrap();
    let refused = journal.rotate(std::iter::empty()).unwrap_err();
    assert!(matches!(refused, JournalError::NoNumber), "{refused}");
}

#[test]
fn a_link_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.path().join("journal.0")).unwrap();
    let mut journal = Journal::open(directory.path(), LAYOUT).unwrap();
    let refused = journal.replay(|_| {}).unwrap_err().to_string();
    assert!(refused.contains("journal.0: "), "{refused}");
}

#[test]
fn a_file_that_lost_its_name_is_noticed_and_begun_anew() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    let mut journal = begun(&directory);
    journal.check().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    journal.append_item(&[0]).unwrap();
    let gone = journal.check().unwrap_err();
    assert!(matches!(gone, JournalError::Gone { .. }), "{gone}");
    journal.rotate(items(1..2).into_iter()).unwrap();
    journal.check().unwrap();
    assert_eq!(read(&directory).0, items(1..2));
    // The old file need not be there for it to be dropped.
    journal.drop_older().unwrap();
    // Replaced by another of its name, it is lost too.
    std::fs::remove_file(directory.join("journal.1")).unwrap();
    std::fs::write(directory.join("journal.1"), head(LAYOUT)).unwrap();
    assert!(matches!(journal.check(), Err(JournalError::Gone { .. })));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = begun(directory.path());
    let large = vec![0; RECORD_LIMIT as usize];
    let refused = journal.append_item(&large).unwrap_err().to_string();
    assert!(refused.contains("more than 16 MiB"), "{refused}");
    journal.append_item(&large[1..]).unwrap();
    assert_eq!(read(directory.path()).0.len(), 1);
}

/// /dev/full takes no byte, and cannot be cut either.
#[test]
fn a_file_that_cannot_be_cut_back_takes_nothing_until_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = begun(directory.path());
    let full = File::options().append(true).open("/dev/full").unwrap();
    let good = std::mem::replace(&mut journal.current.as_mut().unwrap().file, full);
    let refused = journal.append_item(&[0; 100]).unwrap_err().to_string();
    assert!(refused.contains("No space left"), "{refused}");
    assert!(refused.ends_with("free some space there"), "{refused}");
    let refused = journal.append_item(&[0; 100]).unwrap_err().to_string();
    assert!(refused.contains("is torn"), "{refused}");
    journal.rotate(std::iter::empty()).unwrap();
    journal.append_item(&[0; 100]).unwrap();
    assert_eq!(read(directory.path()).0, items(0..1));
    drop(good);
}

/// The test `name`, which calls this, starts itself again with a limit on the size of its files: a write
/// that would pass it is cut short, as on a full disk.
fn with_small_files(name: &str, work: impl Fn(&Path)) {
    const DIRECTORY: &str = "HARDEN_TEST_DIRECTORY";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return work(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    // In units of 512 or 1,024 bytes. Its signal would kill; ignored, the write fails.
    let script = "trap '' XFSZ && ulimit -f 8 && exec \"$0\" --exact \"$1\"";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("agent::journal::tests::{name}"))
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("1 passed"), "{said}{complained}");
}

#[test]
fn a_write_that_was_cut_short_leaves_whole_records_and_room_for_smaller_ones() {
    with_small_files(
        "a_write_that_was_cut_short_leaves_whole_records_and_room_for_smaller_ones",
        |directory| {
            let mut journal = begun(directory);
            let mut taken = Vec::new();
            let error = loop {
                let item = vec![7; 999];
                match journal.append_item(&item) {
                    Ok(()) => taken.push(Record::Item(item)),
                    Err(error) => break error,
                }
                assert!(taken.len() < 100);
            };
            assert!(taken.len() >= 3, "{error}");
            let text = error.to_string();
            assert!(text.contains("File too large"), "{text}");
            let size = std::fs::metadata(directory.join("journal.0"))
                .unwrap()
                .len();
            assert_eq!(size, journal.size());
            journal.append_item(&[8]).unwrap();
            taken.push(Record::Item(vec![8]));
            assert_eq!(read(directory), (taken.clone(), vec![]));

            // Neither does a rotation that fails leave anything.
            let large = std::iter::repeat_n(Record::Item(vec![9; 999]), 100);
            journal.rotate(large).unwrap_err();
            assert_eq!(names(directory), ["journal.0"]);
            journal.append_item(&[8]).unwrap();
            taken.push(Record::Item(vec![8]));
            assert_eq!(read(directory), (taken, vec![]));
        },
    );
}

#[test]
fn a_slot_s_facts_are_the_numbers_of_what_is_set() {
    let mut bytes = [0; harden_common::FACTS as usize];
    bytes[0] = 1;
    bytes[2047] = 1;
    let facts = vec![0, 2047];
    assert_eq!(Record::finals(5, &bytes), Record::Final { slot: 5, facts });
}
