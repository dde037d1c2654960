use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::policy::fixture::Fixture;

/// Of one unit.
const LIMIT: u64 = 1 << 20;

fn observation(name: impl Into<Text>) -> Observation {
    let mut observation = Fixture::new().executable("/bin/daemon").observation();
    observation.name = name.into();
    observation
}

fn unit(name: &str) -> Text {
    Text::from(name)
}

/// The names in the units' directory, hidden ones too.
fn names(state: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(state.join("units"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_saved_is_loaded_whatever_the_unit_is_called() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    let long = format!("/machine.slice/{}/payload:a.service", "x".repeat(1000));
    let names = [
        "nginx.service",
        r"dev-disk\x2did.swap",
        "/machine.slice/machine-a.scope/payload:nginx.service",
        "../../etc/passwd",
        "two\nlines",
        "",
        &long,
    ];
    let mut units: Vec<_> = names.iter().map(Text::from).collect();
    units.push(Text::from(b"\xFF\x00"));
    units.push(Text::from([0xFF; 1000]));
    for unit in &units {
        assert_eq!(store.load(unit).unwrap(), None);
        store.save(&observation(unit.clone())).unwrap();
        store.save(&observation(unit.clone())).unwrap();
    }
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    units.sort();
    assert_eq!(store.units(), units);
    for unit in &units {
        assert_eq!(store.load(unit).unwrap(), Some(observation(unit.clone())));
    }
    assert!(store.take_notices().is_empty());
    let file = fs::metadata(state.path().join("units/nginx.service.json")).unwrap();
    assert_eq!(file.permissions().mode() & 0o7777, 0o640);
    let directory = fs::metadata(state.path().join("units")).unwrap();
    assert_eq!(directory.permissions().mode() & 0o077, 0);
}

#[test]
fn what_cannot_be_used_is_moved_aside_and_the_unit_begins_anew() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    let path = state.path().join("units/a.service.json");
    let newer = "{\n  \"schema\": 99,\n  \"name\": \"a.service\",\n  \"runs\": {}\n}\n";
    let other = observation::to_json(&observation("b.service")).unwrap();
    let good = observation::to_json(&observation("a.service")).unwrap();
    let cases: [(&[u8], &str); 5] = [
        (b"", "incomplete"),
        (b"junk\xFF", "expected"),
        (newer.as_bytes(), "a newer harden"),
        (&other, "of another unit, b.service"),
        (&good[..good.len() / 2], "incomplete"),
    ];
    for (number, (content, why)) in (1..).zip(cases) {
        fs::write(&path, content).unwrap();
        assert_eq!(store.load(&unit("a.service")).unwrap(), None);
        let notices = store.take_notices();
        let [Notice::MovedAside { to, .. }] = &notices[..] else {
            panic!("{notices:?}");
        };
        let said = notices[0].to_string();
        assert!(said.contains(why), "{said}");
        assert!(
            said.contains(&format!("a.service.json.corrupt-{number}:")),
            "{said}"
        );
        assert_eq!(fs::read(to.as_path()).unwrap(), content);
        store.save(&observation("a.service")).unwrap();
        assert!(store.load(&unit("a.service")).unwrap().is_some());
    }
    assert_eq!(names(state.path()).len(), 6);
    assert_eq!(store.units(), [unit("a.service")]);
}

#[test]
fn links_and_what_is_no_file_are_moved_aside() {
    let state = tempfile::tempdir().unwrap();
    let target = state.path().join("target");
    let content = observation::to_json(&observation("a")).unwrap();
    fs::write(&target, &content).unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    let path = state.path().join("units/a.json");
    let make: [&dyn Fn(); 3] = [
        &|| symlink(&target, &path).unwrap(),
        &|| fs::create_dir(&path).unwrap(),
        &|| rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RWXU).unwrap(),
    ];
    for make in make {
        // Found by loading, by saving, and by looking around.
        make();
        assert_eq!(store.load(&unit("a")).unwrap(), None);
        make();
        store.save(&observation("a")).unwrap();
        fs::remove_file(&path).unwrap();
        make();
        assert!(store.units().is_empty());
        assert_eq!(store.take_notices().len(), 3);
    }
    assert_eq!(names(state.path()).len(), 9);
    assert_eq!(fs::read(&target).unwrap(), content);
}

#[test]
fn somebody_else_s_file_is_not_overwritten() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    fs::write(state.path().join("units/a.json"), "mine").unwrap();
    fs::write(state.path().join("units/notes.txt"), "mine").unwrap();
    store.save(&observation("a")).unwrap();
    let aside = state.path().join("units/a.json.corrupt-1");
    assert_eq!(fs::read(aside).unwrap(), b"mine");
    // A copy under another name belongs to no unit.
    let units = state.path().join("units");
    fs::copy(units.join("a.json"), units.join("copy of a.json")).unwrap();
    assert_eq!(store.units(), [unit("a")]);
    assert_eq!(
        names(state.path()),
        [
            "a.json",
            "a.json.corrupt-1",
            "copy of a.json.corrupt-1",
            "notes.txt"
        ]
    );
}

#[test]
fn a_huge_file_is_an_error_and_moved_aside() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    let file = File::create(state.path().join("units/a.json")).unwrap();
    file.set_len(UNIT_LIMIT + 1).unwrap();
    assert_eq!(store.load(&unit("a")).unwrap(), None);
    let said = store.take_notices()[0].to_string();
    assert!(said.contains("larger than 256 MiB"), "{said}");
}

#[test]
fn a_directory_that_is_gone_is_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let state = parent.path().join("state");
    let mut store = Store::open(&state, LIMIT).unwrap();
    fs::remove_dir_all(&state).unwrap();
    assert_eq!(store.load(&unit("a")).unwrap(), None);
    store.save(&observation("a")).unwrap();
    assert_eq!(names(&state), ["a.json"]);
    let said = store.take_notices()[0].to_string();
    assert!(said.contains("units was gone"), "{said}");
}

#[test]
fn what_a_killed_agent_left_half_done_is_removed() {
    let state = tempfile::tempdir().unwrap();
    drop(Store::open(state.path(), LIMIT).unwrap());
    fs::write(state.path().join("units/.harden-17-0.tmp"), "half").unwrap();
    drop(Store::open(state.path(), LIMIT).unwrap());
    assert!(names(state.path()).is_empty());
}

/// A file that may be good is not replaced by one that lacks what it holds.
#[test]
fn what_could_not_be_read_is_not_overwritten() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    store.save(&observation("a")).unwrap();
    let units = state.path().join("units");
    let away = state.path().join("away");
    fs::rename(&units, &away).unwrap();
    // Every lookup below it is refused, root's too.
    fs::write(&units, "").unwrap();
    let refused = store.load(&unit("a")).unwrap_err().to_string();
    assert!(refused.contains("Not a directory"), "{refused}");
    fs::remove_file(&units).unwrap();
    fs::rename(&away, &units).unwrap();
    let refused = store.save(&observation("a")).unwrap_err();
    assert!(matches!(refused, StoreError::Unread { .. }), "{refused}");
    assert!(store.load(&unit("a")).unwrap().is_some());
    store.save(&observation("a")).unwrap();
}

/// The same, with so many files more.
fn with_files(name: &str, start: usize, count: usize) -> Observation {
    let mut observation = observation(name);
    let run = observation.runs.values_mut().next().unwrap();
    let program = run.executables.values_mut().next().unwrap();
    for number in start..start + count {
        let file = format!("/srv/{number}");
        program
            .files
            .insert(file.into(), observation::File::default());
    }
    observation
}

fn files(observation: &Observation) -> usize {
    let runs = observation.runs.values();
    runs.flat_map(|run| run.executables.values())
        .map(|program| program.files.len())
        .sum()
}

#[test]
fn what_is_added_is_there_and_does_not_touch_the_rest() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    // There is nothing yet that it could be added to.
    assert!(!store.add(&with_files("a", 0, 10)).unwrap());
    store.save(&with_files("a", 0, 1000)).unwrap();
    let whole = fs::read(state.path().join("units/a.json")).unwrap();
    for round in 0..10 {
        assert!(store.add(&with_files("a", 1000 + round, 1)).unwrap());
    }
    assert_eq!(fs::read(state.path().join("units/a.json")).unwrap(), whole);
    assert_eq!(store.added_to(), [unit("a")]);
    let file = fs::metadata(state.path().join("units/a.added")).unwrap();
    assert_eq!(file.permissions().mode() & 0o7777, 0o640);
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    assert_eq!(store.units(), [unit("a")]);
    let known = store.load(&unit("a")).unwrap().unwrap();
    assert_eq!(files(&known), 1010);
    store.save(&known).unwrap();
    assert_eq!(names(state.path()), ["a.json"]);
    assert_eq!(store.load(&unit("a")).unwrap(), Some(known));
    store.forget(&unit("a")).unwrap();
    assert_eq!(store.size(), 0);
}

/// What is written again and again is no more than what is new, up to a constant.
#[test]
fn a_file_is_written_whole_only_once_as_much_was_added() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), 64 << 20).unwrap();
    let (mut written, mut new) = (0, 0);
    for round in 0..400 {
        let some = with_files("a", round * 100, 100);
        new += serde_json::to_vec(&some).unwrap().len() as u64;
        if !store.add(&some).unwrap() {
            let mut whole = store
                .load(&unit("a"))
                .unwrap()
                .unwrap_or_else(|| some.clone());
            whole.join(some);
            store.save(&whole).unwrap();
            written += store.size();
        }
    }
    assert_eq!(files(&store.load(&unit("a")).unwrap().unwrap()), 40_000);
    assert!(written < 4 * new, "{written} for {new}");
}

#[test]
fn a_unit_has_room_for_so_much_and_no_more() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    store.save(&with_files("a", 0, 10)).unwrap();
    let mut added = 0;
    while store.add(&with_files("a", added * 1000, 1000)).unwrap() {
        added += 1;
    }
    assert!(store.size() <= LIMIT);
    assert_eq!(store.largest(), Some((unit("a"), store.size())));
}

#[test]
fn additions_that_are_torn_corrupt_or_foreign_do_not_harm_the_rest() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("units/a.added");
    let begin = || {
        let mut store = Store::open(state.path(), LIMIT).unwrap();
        store.forget(&unit("a")).unwrap();
        store.save(&with_files("a", 0, 1)).unwrap();
        assert!(store.add(&with_files("a", 1, 1)).unwrap());
        store
    };
    let append = |bytes: &[u8]| {
        let mut content = fs::read(&path).unwrap();
        content.extend(bytes);
        fs::write(&path, content).unwrap();
    };
    // Torn: the journal has it.
    drop(begin());
    append(b"{\"schema\": 7, \"na");
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    // What another agent left is read before anything is added to it.
    assert!(!store.add(&with_files("a", 2, 1)).unwrap());
    assert_eq!(files(&store.load(&unit("a")).unwrap().unwrap()), 2);
    assert!(store.add(&with_files("a", 2, 1)).unwrap());
    assert_eq!(files(&store.load(&unit("a")).unwrap().unwrap()), 3);
    assert!(store.take_notices().is_empty());
    // Changed while the agent runs.
    let other = serde_json::to_vec(&observation("b")).unwrap();
    for (bytes, why) in [
        (&b"junk\xFF\n"[..], "line 2: "),
        (&[&other[..], b"\n"].concat(), "of another unit, b"),
    ] {
        let mut store = begin();
        append(bytes);
        assert!(!store.add(&with_files("a", 2, 1)).unwrap());
        assert_eq!(files(&store.load(&unit("a")).unwrap().unwrap()), 2);
        let said = store.take_notices();
        assert_eq!(said.len(), 1);
        assert!(said[0].to_string().contains(why), "{}", said[0]);
        assert!(store.has_aside(&unit("a")));
        assert!(store.add(&with_files("a", 2, 1)).unwrap());
        assert_eq!(files(&store.load(&unit("a")).unwrap().unwrap()), 3);
    }
    // A link to somebody's file, and what would be waited for.
    let target = state.path().join("target");
    fs::write(&target, "").unwrap();
    let make: [&dyn Fn(); 3] = [
        &|| symlink(&target, &path).unwrap(),
        &|| fs::create_dir(&path).unwrap(),
        &|| rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RWXU).unwrap(),
    ];
    for make in make {
        let mut store = begin();
        fs::remove_file(&path).unwrap();
        make();
        assert!(!store.add(&with_files("a", 2, 1)).unwrap_or(false));
        assert_eq!(files(&store.load(&unit("a")).unwrap().unwrap()), 1);
        assert_eq!(store.take_notices().len(), 1);
        assert!(store.add(&with_files("a", 2, 1)).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"");
        // A directory is for a person to remove.
        let _ = fs::remove_dir(path.with_extension("added.corrupt-1"));
    }
}

/// Whatever is in the place of what was added, the unit goes on: the file is written whole.
#[test]
fn what_is_in_the_place_of_additions_stops_nothing() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("units/a.added");
    let victim = state.path().join("victim");
    let make: [&dyn Fn(); 6] = [
        &|| fs::write(&path, "").unwrap(),
        &|| fs::write(&path, "{\"schema\": 7, \"na").unwrap(),
        &|| fs::create_dir(&path).unwrap(),
        &|| symlink(&victim, &path).unwrap(),
        &|| fs::hard_link(&victim, &path).unwrap(),
        &|| rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RWXU).unwrap(),
    ];
    for make in make {
        fs::write(&victim, "mine, without an end").unwrap();
        let mut store = Store::open(state.path(), LIMIT).unwrap();
        store.forget(&unit("a")).unwrap();
        store.save(&with_files("a", 0, 1)).unwrap();
        drop(store);
        // While no agent runs.
        make();
        let mut store = Store::open(state.path(), LIMIT).unwrap();
        let new = with_files("a", 1, 1);
        if !store.add(&new).unwrap() {
            let mut whole = store.load(&unit("a")).unwrap().unwrap();
            whole.join(new);
            store.save(&whole).unwrap();
        }
        assert_eq!(files(&store.load(&unit("a")).unwrap().unwrap()), 2);
        assert!(store.add(&with_files("a", 2, 1)).unwrap());
        assert_eq!(fs::read(&victim).unwrap(), b"mine, without an end");
        let _ = fs::remove_dir(path.with_extension("added.corrupt-1"));
    }
}

/// As a newer version leaves it, or an editor.
#[test]
fn lines_behind_one_that_cannot_be_used_are_kept() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    store.save(&with_files("a", 0, 1)).unwrap();
    let line = |number| serde_json::to_vec(&with_files("a", number, 1)).unwrap();
    let lines = [&line(1), &b"{\"schema\": 99}"[..], b"", &line(2), b""].join(&b'\n');
    fs::write(state.path().join("units/a.added"), &lines).unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    assert_eq!(files(&store.load(&unit("a")).unwrap().unwrap()), 3);
    assert_eq!(store.take_notices().len(), 1);
    let aside = state.path().join("units/a.added.corrupt-1");
    assert_eq!(fs::read(aside).unwrap(), lines);
    assert!(store.add(&with_files("a", 3, 1)).unwrap());
    assert_eq!(files(&store.load(&unit("a")).unwrap().unwrap()), 4);
    assert!(store.take_notices().is_empty());
}

#[test]
fn a_unit_of_which_only_the_additions_are_left_is_known() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    store.save(&with_files("a", 0, 1)).unwrap();
    assert!(store.add(&with_files("a", 1, 1)).unwrap());
    fs::remove_file(state.path().join("units/a.json")).unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    assert_eq!(store.units(), [unit("a")]);
    assert_eq!(files(&store.load(&unit("a")).unwrap().unwrap()), 1);
    store.forget(&unit("a")).unwrap();
    assert!(names(state.path()).is_empty());
}

#[test]
fn the_largest_unit_is_one_that_is_there_and_says_its_name() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        store.save(&with_files(name, 0, 10 * (3 - number))).unwrap();
    }
    let path = |name: &str| state.path().join(format!("units/{name}.json"));
    let size = |name: &str| fs::metadata(path(name)).unwrap().len();
    assert_eq!(store.largest(), Some((unit("a"), size("a"))));
    // Another unit's record under the first one's name, and the second is gone.
    fs::copy(path("c"), path("a")).unwrap();
    fs::remove_file(path("b")).unwrap();
    assert_eq!(store.largest(), Some((unit("c"), size("c"))));
    assert_eq!(store.size(), size("a") + size("c"));
}

#[test]
fn what_cannot_be_removed_does_not_keep_a_unit_from_being_forgotten() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path(), LIMIT).unwrap();
    store.save(&observation("a")).unwrap();
    fs::create_dir(state.path().join("units/a.json.corrupt-1")).unwrap();
    store.forget(&unit("a")).unwrap();
    assert_eq!(names(state.path()), ["a.json.corrupt-1"]);
    assert_eq!(store.take_notices().len(), 1);
}
