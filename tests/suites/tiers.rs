//! The same work recorded by each tier. What differs, and only that, is listed in `docs/kernels.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail, ensure};
use harden_agent::observation::{CapabilityCheck, Executable, File, Operation, Run, Word};
use harden_tests::{Scratch, harden, met, programs, trees};

/// For a kernel with `lsm=bpf`. Its first recording is by the tiers that are chosen.
const FILES: [&str; 3] = [
    "files=lsm:file_open",
    "files=tp_btf:sys_exit",
    "files=fexit:security_file_open",
];
const PATH_OPERATIONS: [&str; 2] = [
    "path-operations=lsm:path_*",
    "path-operations=tp_btf:sys_exit",
];
const CAPABILITIES: [&str; 3] = [
    "capabilities=lsm:capable",
    "capabilities=fexit:cap_capable",
    "capabilities=tp_btf:cap_capable",
];

/// The second programs of calls, from the beginning.
const TWICE: &str = "skipped-calls=tp_btf:sys_enter+sys_exit";
const ATTEMPTS: usize = 8;

/// One recording at a time has the machine.
static ALONE: Mutex<()> = Mutex::new(());

/// Works on paths in every way that the small programs know, changes files through a link to their
/// directory, mounts, and has a capability refused.
const SCRIPT: &str = "
set -e
cd \"$1\"
./acts \"$1/acts-tree\"
./ways \"$1/ways-tree\"
mkdir acts-tree/dirlink/below
rmdir acts-tree/dirlink/below
unshare --mount sh -c 'mount -t tmpfs none mounted && umount mounted'
if setpriv --reuid 65534 --clear-groups mkdir refused; then exit 1; fi
sort words | uniq -c | cat >counted
";

/// Where the work is done: the same paths for every recording.
struct Place {
    directory: Scratch,
}

impl Place {
    fn new() -> Result<Self> {
        // mount(8) makes it when there is none: that would be done in the first recording only.
        fs::create_dir_all("/run/mount")?;
        Ok(Self {
            directory: Scratch::new(Path::new("/dev/shm"))?,
        })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Records until nothing was skipped: where the kernel preempts programs, now and then one is.
    fn record(&self, tiers: &[&str]) -> Result<harden::Recorded> {
        let is_skipped = |kind: &Word| kind.as_str().starts_with("skipped-");
        for _ in 0..ATTEMPTS {
            let recorded = self.record_once(tiers)?;
            let losses = &run(&recorded)?.losses;
            println!("{}: {losses:?}", tiers.join(" "));
            ensure!(losses.keys().all(is_skipped), "{losses:?}");
            if losses.is_empty() {
                return Ok(recorded);
            }
        }
        bail!("{}: skipped {ATTEMPTS} times", tiers.join(" "))
    }

    fn record_once(&self, tiers: &[&str]) -> Result<harden::Recorded> {
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        for name in ["acts-tree", "ways-tree", "mounted"] {
            fs::create_dir(self.path().join(name))?;
        }
        trees::for_acts(&self.path().join("acts-tree"))?;
        trees::for_ways(&self.path().join("ways-tree"))?;
        programs::install("acts", &self.directory)?;
        programs::install("ways", &self.directory)?;
        fs::write(self.path().join("words"), "b\na\nb\n")?;

        let tiers_of_all = [&[TWICE][..], tiers].concat();
        let options: Vec<_> = tiers_of_all
            .iter()
            .flat_map(|tier| ["--tier", tier])
            .collect();
        let path = self.path().to_str().context("a path in UTF-8")?;
        let recorded = harden::record("tiers", &options, &["/bin/sh", "-c", SCRIPT, "sh", path])?;
        ensure!(recorded.status == 0, "{}", recorded.output);
        let run = run(&recorded)?;
        for tier in tiers {
            let (fact, hook) = tier.split_once('=').context("a tier")?;
            let supplied = run.hooks.get(fact).context("a fact")?;
            let is_none = hook == "none" && supplied.starts_with("none");
            ensure!(is_none || supplied == hook, "{tier}: {supplied}");
        }
        Ok(recorded)
    }
}

fn run(recorded: &harden::Recorded) -> Result<&Run> {
    let mut runs = recorded.observation.runs.values();
    runs.next().context("a run")
}

/// The profile without the numbers of times: a shell waits now and then once more.
fn policy(recorded: &harden::Recorded) -> Vec<String> {
    let lines = recorded.profile.text().lines();
    lines
        .map(|line| match line.rsplit_once("; ") {
            Some((rest, times))
                if line.starts_with('#') && (times == "once" || times.ends_with(" times")) =>
            {
                rest.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect()
}

fn assert_same_lines(what: &str, one: &[String], other: &[String]) {
    let lacks: Vec<_> = one.iter().filter(|line| !other.contains(line)).collect();
    let has: Vec<_> = other.iter().filter(|line| !one.contains(line)).collect();
    assert!(one == other, "{what}: lacks {lacks:#?}, has {has:#?}");
}

#[test]
fn every_tier_of_paths_gives_the_same_policy() -> Result<()> {
    if !met("every_tier_of_paths_gives_the_same_policy", &["unshare"]) {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new()?;
    let chosen = place.record(&[FILES[0], PATH_OPERATIONS[0]])?;
    for tiers in [
        [FILES[1], PATH_OPERATIONS[0]],
        [FILES[2], PATH_OPERATIONS[0]],
        [FILES[1], PATH_OPERATIONS[1]],
    ] {
        let other = place.record(&tiers)?;
        assert_same_lines(&tiers.join(" "), &policy(&chosen), &policy(&other));
    }
    every_difference_without_lookups_has_its_kind(&place, &chosen)
}

/// Why a fact is not there with `lookups=none`: what `docs/kernels.md` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A call that failed before a hook was asked.
    Failed,
    /// The hook stands before the outcome: `tried` for `ok`.
    Outcome,
    /// Opened with `O_PATH`.
    Locate,
    /// stat, access, readlink, statfs, attributes read.
    Look,
    /// A change of the working directory.
    Chdir,
    /// Times and attributes written.
    Attributes,
    /// inotify.
    Watch,
    /// Mounts.
    Mount,
    /// A name that leads over a link: the file is there under its own.
    Name,
    /// A file whose directory was renamed since it was told: a hook tells it once.
    Moved,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Failed,
        Self::Outcome,
        Self::Locate,
        Self::Look,
        Self::Chdir,
        Self::Attributes,
        Self::Watch,
        Self::Mount,
        Self::Name,
        Self::Moved,
    ];

    /// The operations that no hook has.
    fn of(operation: Operation) -> Option<Self> {
        use Operation as O;
        Some(match operation {
            O::Locate => Self::Locate,
            O::Stat | O::Access | O::Readlink | O::Statfs | O::XattrRead => Self::Look,
            O::Chdir => Self::Chdir,
            O::Utime | O::XattrWrite => Self::Attributes,
            O::Watch => Self::Watch,
            O::Mount | O::Unmount => Self::Mount,
            _ => return None,
        })
    }
}

/// Program, path and operation.
type Act<'a> = (&'a Path, PathBuf, Operation);

/// The outcomes of each act.
fn acts(run: &Run) -> BTreeMap<Act<'_>, BTreeSet<&str>> {
    let mut acts = BTreeMap::new();
    for (program, path, file) in files(run) {
        for operation in file.operations.operations() {
            let outcomes = file.operations.of(operation);
            let outcomes = outcomes.map(|(outcome, _)| outcome.0.as_str());
            acts.insert((program, unnumbered(path), operation), outcomes.collect());
        }
    }
    acts
}

/// The path with no number of a process in it.
fn unnumbered(path: &Path) -> PathBuf {
    let is_number = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
    if !path.starts_with("/proc") {
        return path.to_owned();
    }
    let names = path.iter();
    names
        .map(|name| {
            if is_number(name) {
                OsStr::new("PID")
            } else {
                name
            }
        })
        .collect()
}

fn files(run: &Run) -> impl Iterator<Item = (&Path, &Path, &File)> {
    run.executables.iter().flat_map(|(program, facts)| {
        let files = facts.files.iter();
        files.map(|(path, file)| (program.as_path(), path.as_path(), file))
    })
}

/// The path with no link in it, but for its last name.
fn own(path: &Path) -> PathBuf {
    let parent = path
        .parent()
        .and_then(|parent| fs::canonicalize(parent).ok());
    parent.map_or_else(
        || path.to_owned(),
        |parent| parent.join(path.file_name().unwrap_or_default()),
    )
}

/// Whether `program` gave a directory above `path` its name.
fn is_below_a_renamed(
    acts: &BTreeMap<Act<'_>, BTreeSet<&str>>,
    program: &Path,
    path: &Path,
) -> bool {
    let mut above = path.ancestors().skip(1);
    above.any(|above| acts.contains_key(&(program, above.to_owned(), Operation::RenameTo)))
}

fn every_difference_without_lookups_has_its_kind(
    place: &Place,
    chosen: &harden::Recorded,
) -> Result<()> {
    let bare = place.record(&[FILES[0], PATH_OPERATIONS[0], "lookups=none"])?;
    let (chosen, bare) = (run(chosen)?, run(&bare)?);
    let (all, fewer) = (acts(chosen), acts(bare));
    let mut kinds = BTreeSet::new();
    let mut strange = Vec::new();
    for ((program, path, operation), outcomes) in &all {
        let present = fewer.get(&(*program, path.clone(), *operation));
        for &outcome in outcomes {
            if present.is_some_and(|outcomes| outcomes.contains(outcome)) {
                continue;
            }
            let is_tried = |path: PathBuf| {
                let present = fewer.get(&(*program, path, *operation));
                present.is_some_and(|outcomes| outcomes.contains("tried"))
            };
            let kind = if let Some(kind) = Kind::of(*operation) {
                Some(kind)
            } else if outcome != "ok" && outcome != "tried" {
                Some(Kind::Failed)
            } else if is_tried(path.clone()) {
                Some(Kind::Outcome)
            } else if is_tried(own(path)) {
                Some(Kind::Name)
            } else if is_below_a_renamed(&all, program, path) {
                Some(Kind::Moved)
            } else {
                None
            };
            match kind {
                Some(kind) => {
                    kinds.insert(kind);
                }
                None => strange.push(format!(
                    "{} {operation:?} {outcome} {}",
                    program.display(),
                    path.display()
                )),
            }
        }
    }
    // Nothing is known that was not known with lookups, but that outcomes are not.
    for (act, outcomes) in &fewer {
        if outcomes.iter().any(|&outcome| outcome != "tried") || !all.contains_key(act) {
            // bind and connect have their addresses, with outcomes.
            let socket = matches!(act.2, Operation::Bind | Operation::Connect);
            if !(socket && all.contains_key(act)) {
                strange.push(format!("without lookups: {act:?} {outcomes:?}"));
            }
        }
    }
    assert!(strange.is_empty(), "{strange:#?}");
    names(chosen, bare, &mut kinds);
    assert_eq!(kinds, BTreeSet::from(Kind::ALL));
    Ok(())
}

/// No name but a file's own is known without lookups.
fn names(chosen: &Run, bare: &Run, kinds: &mut BTreeSet<Kind>) {
    let asked = |run| files(run).any(|(_, _, file)| !file.asked_as.is_empty());
    assert!(!asked(bare));
    if asked(chosen) {
        kinds.insert(Kind::Name);
    }
}

/// The checks of each capability by program.
fn checks(run: &Run) -> BTreeMap<(String, String), BTreeSet<CapabilityCheck>> {
    let mut checks = BTreeMap::new();
    for (program, Executable { capabilities, .. }) in &run.executables {
        for (capability, seen) in capabilities {
            let key = (program.to_string(), capability.as_str().to_owned());
            checks.insert(key, seen.keys().copied().collect());
        }
    }
    checks
}

/// Those that count as a need, or would if the task had asked for itself.
fn needs(
    checks: &BTreeMap<(String, String), BTreeSet<CapabilityCheck>>,
) -> Vec<(&(String, String), CapabilityCheck)> {
    let each = checks
        .iter()
        .flat_map(|(key, checks)| checks.iter().map(move |&check| (key, check)));
    each.filter(|&(_, check)| !is_denied(check) && check != CapabilityCheck::GrantedNoaudit)
        .collect()
}

fn is_denied(check: CapabilityCheck) -> bool {
    matches!(
        check,
        CapabilityCheck::Denied | CapabilityCheck::DeniedNoaudit
    )
}

/// `cap_capable` is a tracepoint since 6.14.
fn has_tracepoint(run: &Run) -> Result<bool> {
    let kernel = run.host.kernel.to_string();
    let mut numbers = kernel.split(['.', '-']);
    let mut number = || -> Result<u32> { Ok(numbers.next().context("a number")?.parse()?) };
    Ok((number()?, number()?) >= (6, 14))
}

#[test]
fn every_tier_of_capabilities_gives_the_same_policy() -> Result<()> {
    if !met(
        "every_tier_of_capabilities_gives_the_same_policy",
        &["unshare", "setpriv"],
    ) {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new()?;
    let granted = place.record(&[CAPABILITIES[0]])?;
    let seen = checks(run(&granted)?);
    assert!(seen.values().flatten().all(|&check| !is_denied(check)));
    let others = if has_tracepoint(run(&granted)?)? {
        &CAPABILITIES[1..]
    } else {
        &CAPABILITIES[1..2]
    };
    for tier in others {
        let other = place.record(&[tier])?;
        let rules = |recorded: &harden::Recorded| -> Vec<String> {
            recorded.profile.rules().map(str::to_owned).collect()
        };
        assert_same_lines(tier, &rules(&granted), &rules(&other));

        let all = checks(run(&other)?);
        let denied = all.values().flatten().any(|&check| is_denied(check));
        assert!(denied, "{tier}: {all:#?}");
        assert_eq!(needs(&seen), needs(&all), "{tier}");
    }
    Ok(())
}
