//! Mounts, roots and namespaces: a path is that of the task's mount namespace, from its root; and
//! what a task may do in a user namespace of its own is no capability that it needs.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use harden_agent::observation::{CapabilityCheck, Executable};
use harden_tests::{
    Scratch, harden,
    harden::Recorded,
    met,
    observed::{acts, assert_same, facts, printed_acts},
    programs,
    programs::install,
};

/// Records a shell script in a mount namespace of its own. `$1` is the tree, `$2` the directory of
/// the program `files`.
fn in_namespace(name: &str, script: &str, tree: &Scratch) -> Result<Recorded> {
    let bin = Scratch::new(Path::new("/run"))?;
    install("files", &bin)?;
    let [tree, bin] = [tree, &bin].map(|dir| dir.path().to_str().expect("a path in UTF-8"));
    let shell = ["/bin/sh", "-c", script, "sh", tree, bin];
    let command: Vec<_> = ["/usr/bin/unshare", "--mount"]
        .into_iter()
        .chain(shell)
        .collect();
    let recorded = harden::record(name, &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    Ok(recorded)
}

/// Which checks there were for `capability`.
fn checks(facts: &Executable, capability: &str) -> BTreeSet<CapabilityCheck> {
    let asked = facts.capabilities.iter();
    asked
        .filter(|(name, _)| name.as_str() == capability)
        .flat_map(|(_, checks)| checks.keys().copied())
        .collect()
}

/// The capabilities that count as used.
fn granted(facts: &Executable) -> Vec<&str> {
    let checks = facts.capabilities.iter();
    checks
        .filter(|(_, checks)| checks.contains_key(&CapabilityCheck::Granted))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// What `files` does with its file.
fn written(path: &str) -> BTreeSet<String> {
    let acts = ["create", "read", "stat", "truncate", "write"];
    acts.iter().map(|act| format!("{act} ok {path}")).collect()
}

#[test]
fn a_root_directory_of_its_own() -> Result<()> {
    if !met("a_root_directory_of_its_own", &[]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let jailed = install("jailed", &bin)?;
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    fs::create_dir(tree.path().join("jail"))?;
    for file in ["jail/beside", "jail/inside", "outside"] {
        fs::write(tree.path().join(file), "")?;
    }
    let command = [jailed.as_os_str(), tree.path().as_os_str()];
    let recorded = harden::record("jailed", &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let facts = facts(&recorded.observation, "jailed");
    let expected = printed_acts(&recorded.output);
    assert!(expected.contains("read ok jail/inside"), "{expected:?}");
    assert_same(&expected, &acts(facts, tree.path()));
    for name in ["/inside", "/missing", "/made", "/beside"] {
        let mut paths = facts.files.keys();
        assert!(
            !paths.any(|path| path.as_path() == Path::new(name)),
            "{name}"
        );
    }
    assert_eq!(granted(facts), ["sys_chroot"]);
    Ok(())
}

#[test]
fn a_tmp_of_its_own() -> Result<()> {
    if !met("a_tmp_of_its_own", &["unshare"]) {
        return Ok(());
    }
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    fs::create_dir(tree.path().join("private"))?;
    // The way of systemd's PrivateTmp=.
    let name = tree.path().file_name().context("a name")?;
    let name = name.to_str().context("a name in UTF-8")?;
    let script = "mount --bind \"$1/private\" /tmp && \"$2/files\" \"/tmp/${1##*/}\"";
    let recorded = in_namespace("private", script, &tree)?;
    let facts = facts(&recorded.observation, "files");
    let observed = acts(facts, Path::new("/tmp"));
    assert_same(&written(name), &observed);
    assert_same(&BTreeSet::new(), &acts(facts, tree.path()));
    // And it was another /tmp.
    assert!(tree.path().join("private").join(name).exists());
    assert!(!Path::new("/tmp").join(name).exists());
    Ok(())
}

#[test]
fn one_path_in_two_namespaces_is_two_files() -> Result<()> {
    if !met("one_path_in_two_namespaces_is_two_files", &["unshare"]) {
        return Ok(());
    }
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    fs::create_dir(tree.path().join("place"))?;
    // The second lies in the first, which so keeps its device.
    let script = "
mount -t tmpfs none \"$1/place\" && \"$2/files\" \"$1/place/file\" && unshare --mount sh -c '
mount -t tmpfs none \"$1/place\" && \"$2/files\" \"$1/place/file\"' sh \"$1\" \"$2\"";
    let recorded = in_namespace("two", script, &tree)?;
    let facts = facts(&recorded.observation, "files");
    assert_same(&written("place/file"), &acts(facts, tree.path()));
    let path = tree.path().join("place/file");
    let mut files = facts.files.iter();
    let (_, file) = files
        .find(|(name, _)| name.as_path() == path)
        .context("the file")?;
    let devices: BTreeSet<_> = file.inodes.iter().map(|inode| inode.device).collect();
    assert_eq!(devices.len(), 2, "{:?}", file.inodes);
    Ok(())
}

#[test]
fn a_file_mounted_over_another() -> Result<()> {
    if !met("a_file_mounted_over_another", &["unshare"]) {
        return Ok(());
    }
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    for name in ["source", "target"] {
        fs::write(tree.path().join(name), "")?;
    }
    let script = "mount --bind \"$1/source\" \"$1/target\" && \"$2/files\" \"$1/target\"";
    let recorded = in_namespace("bound", script, &tree)?;
    let facts = facts(&recorded.observation, "files");
    assert_same(&written("target"), &acts(facts, tree.path()));
    assert_eq!(fs::read(tree.path().join("source"))?, b"done\n");
    Ok(())
}

#[test]
fn what_overlayfs_does_is_not_the_tasks_doing() -> Result<()> {
    if !met(
        "what_overlayfs_does_is_not_the_tasks_doing",
        &["unshare", "chmod"],
    ) {
        return Ok(());
    }
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    for name in ["lower", "layers", "over"] {
        fs::create_dir(tree.path().join(name))?;
    }
    for name in ["written", "changed"] {
        fs::write(tree.path().join("lower").join(name), "from below\n")?;
    }
    // tmpfs: not every file system can be the upper layer.
    let script = "
cd \"$1\" && mount -t tmpfs none layers && mkdir layers/upper layers/work &&
mount -t overlay -o lowerdir=lower,upperdir=layers/upper,workdir=layers/work none over &&
\"$2/files\" \"$1/over/written\" && chmod 600 \"$1/over/changed\" &&
[ -s layers/upper/written ] && [ -s layers/upper/changed ]";
    let recorded = in_namespace("copied", script, &tree)?;
    let files = facts(&recorded.observation, "files");
    assert_same(&written("over/written"), &acts(files, tree.path()));
    let chmod = facts(&recorded.observation, "chmod");
    let changed: BTreeSet<_> = acts(chmod, tree.path())
        .into_iter()
        .filter(|act| !act.starts_with("stat "))
        .collect();
    assert_eq!(
        changed,
        BTreeSet::from(["chmod ok over/changed".to_owned()])
    );
    // Copying up asked for capabilities, under the credentials of the user who mounted.
    for facts in [files, chmod] {
        let lent = facts.capabilities.values();
        let lent =
            lent.filter(|checks| checks.contains_key(&CapabilityCheck::OverriddenCredentials));
        assert!(lent.count() > 0, "{:?}", facts.capabilities);
        assert_eq!(granted(facts), [""; 0]);
    }
    // The same checks are the need of one who does this himself.
    assert!(!granted(facts(&recorded.observation, "mount")).is_empty());
    Ok(())
}

#[test]
fn a_capability_in_a_user_namespace_needs_none_outside() -> Result<()> {
    if !met("a_capability_in_a_user_namespace_needs_none_outside", &[]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let hostname = install("hostname", &bin)?;
    let hostname = hostname.to_str().context("a path in UTF-8")?;

    let inside = harden::record("inside", &[], &[hostname, "inside"])?;
    assert_eq!(inside.status, 0, "{}", inside.output);
    let seen = checks(facts(&inside.observation, "hostname"), "sys_admin");
    assert!(
        seen.contains(&CapabilityCheck::ChildUserNamespace),
        "{seen:?}"
    );
    assert!(!seen.contains(&CapabilityCheck::Granted), "{seen:?}");
    assert!(inside.profile.has("caps.drop all"));

    // The same call without that namespace does need it.
    let outside = harden::record("outside", &[], &[hostname])?;
    assert_eq!(outside.status, 0, "{}", outside.output);
    let seen = checks(facts(&outside.observation, "hostname"), "sys_admin");
    assert!(seen.contains(&CapabilityCheck::Granted), "{seen:?}");
    assert!(
        !seen.contains(&CapabilityCheck::ChildUserNamespace),
        "{seen:?}"
    );
    assert_eq!(outside.profile.list("caps.keep"), ["sys_admin"]);
    Ok(())
}

/// Goes to another root as `switch_root` does, and stays the same program.
const GOES: &str = "
import os, sys
root = sys.argv[1]
assert os.system(f'mount --bind {root} {root}') == 0
os.chdir(root)
assert os.system('mount --move . /') == 0
os.chroot('.')
open('/only-there').read()
";

#[test]
fn who_goes_to_another_root_has_no_paths_there() -> Result<()> {
    let needed = ["python3", "unshare", "mount"];
    if !met("who_goes_to_another_root_has_no_paths_there", &needed) {
        return Ok(());
    }
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    let root = tree.path().join("root");
    fs::create_dir_all(root.join("old"))?;
    fs::write(root.join("only-there"), "there\n")?;
    let path = root.to_str().context("a path in UTF-8")?;
    let command = [
        "unshare", "--mount", "python3", "-S", "-E", "-c", GOES, path,
    ];
    let recorded = harden::record("goes", &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let programs = &harden_tests::observed::run(&recorded.observation).executables;
    let files = programs.values().flat_map(|facts| facts.files.keys());
    let theirs: Vec<_> = files
        .filter(|path| path.to_string().ends_with("/only-there"))
        .collect();
    assert!(theirs.is_empty(), "{theirs:?}");
    let names: Vec<String> = programs.keys().map(ToString::to_string).collect();
    let mut other = names.iter();
    let is_there = other.any(|name| name.ends_with(" (on another root)"));
    assert!(is_there, "{names:?}");
    Ok(())
}

/// What runs on another root has calls and no paths: they would be taken for the host's.
#[test]
fn nothing_on_another_root_is_a_path_of_the_host() -> Result<()> {
    let needed = ["unshare", "pivot_root", "busybox"];
    if !met("nothing_on_another_root_is_a_path_of_the_host", &needed) {
        return Ok(());
    }
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    let root = tree.path().join("root");
    fs::create_dir_all(root.join("old"))?;
    programs::copy("/bin/busybox", root.join("busybox"))?;
    fs::write(root.join("only-there"), "there\n")?;
    let script = "
mount --bind \"$1\" \"$1\" && cd \"$1\" || exit
if pivot_root . old 2>/dev/null; then exec /busybox cat /only-there; fi
# The kernel's own rootfs cannot be pivoted.
mount --move . / && exec chroot . /busybox cat /only-there";
    let path = root.to_str().context("a path in UTF-8")?;
    let command = ["unshare", "--mount", "sh", "-c", script, "sh", path];
    let recorded = harden::record("pivoted", &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let programs = &harden_tests::observed::run(&recorded.observation).executables;
    let files = programs.values().flat_map(|facts| facts.files.keys());
    let theirs: Vec<_> = files
        .filter(|path| path.to_string().ends_with("/only-there"))
        .collect();
    assert!(theirs.is_empty(), "{theirs:?}");
    let (_, inside) = programs
        .iter()
        .find(|(path, _)| path.to_string() == "/busybox (on another root)")
        .context("no busybox")?;
    let calls = inside.syscalls.values().flat_map(|calls| calls.keys());
    assert!(
        calls
            .map(ToString::to_string)
            .any(|call| call == "exit_group")
    );
    let text = recorded.profile.text();
    assert!(text.contains("WARNING[other-root]"), "{text}");
    Ok(())
}
