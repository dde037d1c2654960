//! Tables that are too small: what does not fit is counted and shown, and the rest is whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::Path,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{Abi, Observation, Run, Seen, Word};
use harden_tests::{Scratch, cgroup_tree, harden, met, observed::losses, programs, scaled};

/// Held by a test for which the whole machine is just enough, while it writes; by the others while they read.
static MACHINE: RwLock<()> = RwLock::new(());

fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

fn run(observation: &Observation) -> Result<&Run> {
    observation.runs.values().next().context("a run")
}

fn lost(run: &Run, kind: &str) -> u64 {
    let mut losses = run.losses.iter();
    losses
        .find(|(name, _)| name.as_str() == kind)
        .map_or(0, |(_, count)| *count)
}

/// Opens far more names than a page holds, faster than they can be taken.
const OPENS: &str = "
import os
for i in range(20000):
    try: os.open(f'/nosuch-{i}', os.O_RDONLY)
    except OSError: pass
";

#[test]
fn a_full_ring_loses_paths_and_counts_them_but_no_call() -> Result<()> {
    let _shared = beside_others();
    if !met(
        "a_full_ring_loses_paths_and_counts_them_but_no_call",
        &["python3"],
    ) {
        return Ok(());
    }
    let command = ["/usr/bin/python3", "-c", OPENS];
    let small = harden::record("small", &["--ring", "4096"], &command)?;
    let large = harden::record("large", &[], &command)?;
    let (small_run, large_run) = (run(&small.observation)?, run(&large.observation)?);

    let opened = |run: &Run| -> u64 {
        let files = run
            .executables
            .values()
            .flat_map(|facts| facts.files.keys());
        files
            .filter(|path| path.as_bytes().starts_with(b"/nosuch-"))
            .count() as u64
    };
    assert_eq!(losses(large_run), BTreeMap::new());
    assert_eq!(opened(large_run), 20_000);
    // Each name is opened once, so each loss is one path that is missing, and none is missing else.
    let missing = lost(small_run, "path-ring-full");
    assert!(missing > 0, "{:?}", small_run.losses);
    assert!(20_000 - opened(small_run) <= missing);
    assert!(
        small.profile.text().contains("WARNING"),
        "{}",
        small.profile.text()
    );

    // What has a byte in its slot is known whatever became of the event.
    let calls = |run: &Run| {
        let programs = run.executables.values();
        let calls = programs.filter_map(|facts| facts.syscalls.get(&Abi::Native));
        calls
            .flat_map(|calls| calls.keys().cloned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(calls(small_run), calls(large_run));
    Ok(())
}

#[test]
fn programs_beyond_the_slots_are_counted() -> Result<()> {
    let _shared = beside_others();
    if !met("programs_beyond_the_slots_are_counted", &["sh", "cat"]) {
        return Ok(());
    }
    let command = ["/bin/sh", "-c", "/bin/cat /dev/null; true"];
    let recorded = harden::record("few", &["--slots", "1"], &command)?;
    let run = run(&recorded.observation)?;
    assert!(lost(run, "slots-exhausted") > 0, "{:?}", run.losses);
    assert_eq!(run.executables.len(), 1);
    assert!(recorded.profile.text().contains("WARNING"));
    Ok(())
}

/// The paths below `dir` that end in `file-NUMBER`, by number.
fn numbered(run: &Run, dir: &Path) -> BTreeSet<u32> {
    let files = run.executables.values().flat_map(|facts| &facts.files);
    let below = files.filter(|(path, _)| path.as_path().starts_with(dir));
    below
        .filter_map(|(path, _)| {
            let name = path.as_path().file_name()?.to_str()?;
            name.strip_prefix("file-")?.parse().ok()
        })
        .collect()
}

/// Records `pressure MODE COUNT`, with its files in `dir` and its cgroups below its own.
fn pressure(mode: &str, count: u32, dir: &Scratch, options: &[&str]) -> Result<harden::Recorded> {
    let program = programs::install("pressure", dir)?;
    // Only from within can the cgroup be told.
    let script = format!(
        "exec {} {mode} {count} {} {}$(sed -n 's/^0:://p' /proc/self/cgroup)",
        program.display(),
        dir.path().display(),
        cgroup_tree()?.display()
    );
    let recorded = harden::record(mode, options, &["/bin/sh", "-c", &script])?;
    ensure!(recorded.status == 0, "{}", recorded.output);
    Ok(recorded)
}

/// A loss of `kind` is in the observation, and on the profile.
fn shown(recorded: &harden::Recorded, kind: &str) -> Result<()> {
    let run = run(&recorded.observation)?;
    ensure!(lost(run, kind) > 0, "{:?}", run.losses);
    let line = format!(" lost ({kind})");
    let text = recorded.profile.text();
    ensure!(text.contains(&line), "no {line}: {text}");
    Ok(())
}

/// Nothing was lost, and nothing was said to be.
fn whole(recorded: &harden::Recorded) -> Result<()> {
    let run = run(&recorded.observation)?;
    ensure!(losses(run).is_empty(), "{:?}", run.losses);
    ensure!(!recorded.profile.text().contains(" lost ("));
    Ok(())
}

/// How many paths come at full speed, and with which options: more than the ring buffer and the dedupe table hold.
/// `cargo xtask soak` has a million and the usual ring buffer, by `HARDEN_TEST_PATHS`; fewer have a smaller one.
fn full_speed() -> Result<(u32, &'static [&'static str])> {
    match env::var("HARDEN_TEST_PATHS") {
        Ok(paths) => Ok((paths.parse()?, &[])),
        Err(_) => Ok((70_000, &["--ring", "8388608"])),
    }
}

#[test]
fn paths_at_full_speed_are_all_there() -> Result<()> {
    let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    if !met("paths_at_full_speed_are_all_there", &["sh", "sed"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/dev/shm"))?;
    let (count, options) = full_speed()?;
    let count = scaled(count)?;
    let recorded = pressure("opens", count, &dir, options)?;
    whole(&recorded)?;
    let seen = numbered(run(&recorded.observation)?, dir.path());
    assert_eq!(seen.len() as u64, u64::from(count));
    Ok(())
}

#[test]
fn more_short_lived_cgroups_than_slots_are_all_there() -> Result<()> {
    let _shared = beside_others();
    if !met(
        "more_short_lived_cgroups_than_slots_are_all_there",
        &["sh", "sed"],
    ) {
        return Ok(());
    }
    // Above the 4,096 slots and cgroups that there are.
    let count = scaled(5000)?;
    let dir = Scratch::new(Path::new("/dev/shm"))?;
    let recorded = pressure("cgroups", count, &dir, &[])?;
    whole(&recorded)?;
    let run = run(&recorded.observation)?;
    assert_eq!(numbered(run, dir.path()), (0..count).collect());
    let executed = run
        .executables
        .values()
        .filter_map(|facts| facts.invoked_as.get(&"/proc/self/exe".into()));
    let executed: u64 = executed.filter_map(Seen::count).sum();
    assert_eq!(executed, u64::from(count));
    Ok(())
}

#[test]
fn a_few_slots_serve_many_cgroups_again_and_again() -> Result<()> {
    let _shared = beside_others();
    if !met(
        "a_few_slots_serve_many_cgroups_again_and_again",
        &["sh", "sed"],
    ) {
        return Ok(());
    }
    // Each record has some eight owners. Nothing of one may pass for another's: no path is taken for
    // one that was sent, and calls are counted once.
    let count = scaled(4000)?;
    let dir = Scratch::new(Path::new("/dev/shm"))?;
    let recorded = pressure("cgroups", count, &dir, &["--slots", "512"])?;
    whole(&recorded)?;
    let run = run(&recorded.observation)?;
    assert_eq!(numbered(run, dir.path()), (0..count).collect());
    Ok(())
}

#[test]
fn where_every_slot_is_counted_sums_are_exact() -> Result<()> {
    let _shared = beside_others();
    if !met("where_every_slot_is_counted_sums_are_exact", &["sh", "sed"]) {
        return Ok(());
    }
    let count = scaled(1000)?;
    let dir = Scratch::new(Path::new("/dev/shm"))?;
    let recorded = pressure("cgroups", count, &dir, &["--slots", "256"])?;
    whole(&recorded)?;
    let run = run(&recorded.observation)?;
    // Each made and removed one file; nothing else in the program does.
    let counts = run
        .executables
        .values()
        .filter_map(|facts| facts.syscalls.get(&Abi::Native));
    let unlinked: u64 = counts
        .filter_map(|calls| calls.get(&Word::new("unlink").ok()?)?.count())
        .sum();
    assert_eq!(unlinked, u64::from(count));
    Ok(())
}

#[test]
fn cgroups_beyond_the_table_are_counted() -> Result<()> {
    let _shared = beside_others();
    if !met("cgroups_beyond_the_table_are_counted", &["sh", "sed"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/dev/shm"))?;
    let recorded = pressure("cgroups", 20, &dir, &["--cgroups", "1"])?;
    shown(&recorded, "cgroups-full")?;
    let run = run(&recorded.observation)?;
    assert_eq!(lost(run, "cgroups-full"), 20);
    assert_eq!(losses(run).len(), 1, "{:?}", run.losses);
    Ok(())
}

#[test]
fn what_falls_out_of_the_dedupe_table_is_sent_again_and_no_loss() -> Result<()> {
    let _shared = beside_others();
    if !met(
        "what_falls_out_of_the_dedupe_table_is_sent_again_and_no_loss",
        &["sh", "sed"],
    ) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/dev/shm"))?;
    let count = scaled(20_000)?;
    let recorded = pressure("opens", count, &dir, &["--once", "64"])?;
    whole(&recorded)?;
    let seen = numbered(run(&recorded.observation)?, dir.path());
    assert_eq!(seen, (0..count).collect());
    Ok(())
}

#[test]
fn tasks_beyond_the_table_are_counted_and_still_observed() -> Result<()> {
    let _shared = beside_others();
    if !met(
        "tasks_beyond_the_table_are_counted_and_still_observed",
        &["sh", "sed"],
    ) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/dev/shm"))?;
    let recorded = pressure("opens", 1000, &dir, &["--task-hash", "--tasks", "1"])?;
    shown(&recorded, "tasks-full")?;
    let run = run(&recorded.observation)?;
    assert_eq!(losses(run).len(), 1, "{:?}", run.losses);
    assert_eq!(numbered(run, dir.path()), (0..1000).collect());
    Ok(())
}

/// Fills the ring, waits until it was taken, and opens the same names again: slowly, as the ring has room for some
/// forty, and an emulated CPU may stand still for a while.
const AGAIN: &str = "
import os, time
def opened(names):
    for i in names:
        try: os.open(f'/nosuch-{i}', os.O_RDONLY)
        except OSError: pass
opened(range(5000))
time.sleep(1)
for i in range(0, 5000, 10):
    opened(range(i, i + 10))
    time.sleep(0.01)
";

#[test]
fn what_was_lost_arrives_when_it_is_used_again() -> Result<()> {
    let _shared = beside_others();
    if !met("what_was_lost_arrives_when_it_is_used_again", &["python3"]) {
        return Ok(());
    }
    let command = ["/usr/bin/python3", "-c", AGAIN];
    let recorded = harden::record("again", &["--ring", "4096"], &command)?;
    shown(&recorded, "path-ring-full")?;
    let files = run(&recorded.observation)?.executables.values();
    let again = files
        .flat_map(|facts| facts.files.keys())
        .filter(|path| path.as_bytes().starts_with(b"/nosuch-"))
        .count();
    let lost = lost(run(&recorded.observation)?, "path-ring-full");
    // Each was tried twice: without a second chance as many would be missing as were lost.
    assert!(
        again > 5000 - usize::try_from(lost)? / 2,
        "{again}, {lost} lost"
    );
    Ok(())
}

/// Fills the ring while the reader stands still, and begins programs of which each is another file and has a capability;
/// then some more of them, once the ring is empty.
const OWNERS: &str = r#"
own() {
    for number in $(seq "$1" "$2"); do
        cp "$(readlink -f /usr/bin/python3)" "$place/owner-$number"
        "$place/owner-$number" -S -E -c "import os, sys; os.chown(sys.argv[1], 1, 1)" "$place/owner-$number"
    done
}
place=$0
kill -STOP "$PPID"
/usr/bin/python3 -c '
import os
for i in range(1000):
    try: os.open(f"/nosuch-{i}", os.O_RDONLY)
    except OSError: pass
'
own 1 5
kill -CONT "$PPID"
sleep 1
own 6 8
"#;

#[test]
fn a_program_whose_start_was_lost_leaves_no_capability() -> Result<()> {
    let _shared = beside_others();
    if !met(
        "a_program_whose_start_was_lost_leaves_no_capability",
        &["sh", "python3", "cp", "readlink", "seq", "sleep"],
    ) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/dev/shm"))?;
    let place = dir.path().to_str().context("a path in UTF-8")?;
    let command = ["/bin/sh", "-c", OWNERS, place];
    let recorded = harden::record("owners", &["--ring", "4096"], &command)?;
    let run = run(&recorded.observation)?;
    let (nameless, named): (Vec<_>, Vec<_>) = run
        .executables
        .iter()
        .partition(|(name, _)| name.as_bytes().starts_with(b"/unknown program"));
    let chown = Word::new("chown")?;
    ensure!(!nameless.is_empty(), "every start was told");
    ensure!(lost(run, "exec-ring-full") > 0, "{:?}", run.losses);
    for (name, facts) in nameless {
        ensure!(facts.capabilities.is_empty(), "{name}");
        ensure!(!facts.syscalls.is_empty(), "{name}");
    }
    shown(&recorded, "withheld-capability")?;
    // Those of which the start was told have it.
    let copies = named.iter();
    let copies: Vec<_> = copies
        .filter(|(name, _)| name.as_path().starts_with(dir.path()))
        .collect();
    ensure!(!copies.is_empty(), "no start was told");
    for (name, facts) in copies {
        ensure!(facts.capabilities.contains_key(&chown), "{name}");
    }
    Ok(())
}
