use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::process::Command;

use super::*;

fn profile(name: &str, body: &str) -> Output<'static> {
    Output {
        name: name.to_owned(),
        content: Content::Bytes(format!("{MARKER_PREFIX}\n{body}\n").into_bytes()),
        ours: Ours::Marker,
    }
}

/// The names in a directory, hidden ones too.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn refusal(directory: &Path, outputs: &[Output<'_>], force: bool) -> String {
    write(directory, outputs, force).unwrap_err().to_string()
}

#[test]
fn a_file_is_written_and_its_own_earlier_version_replaced() {
    let directory = tempfile::tempdir().unwrap();
    for body in ["first", "second"] {
        write(directory.path(), &[profile("a.profile", body)], false).unwrap();
        let path = directory.path().join("a.profile");
        let content = fs::read_to_string(&path).unwrap();
        assert_eq!(content, format!("{MARKER_PREFIX}\n{body}\n"));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
    }
    assert_eq!(names(directory.path()), ["a.profile"]);
}

#[test]
fn somebody_elses_file_is_replaced_by_force_alone_and_a_refusal_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b.profile");
    fs::write(&path, "mine").unwrap();
    let outputs = [profile("a.profile", ""), profile("b.profile", "")];
    let message = refusal(directory.path(), &outputs, false);
    assert!(
        message.contains("b.profile was not written by harden"),
        "{message}"
    );
    assert!(message.contains("--force"), "{message}");
    assert_eq!(names(directory.path()), ["b.profile"]);
    assert_eq!(fs::read(&path).unwrap(), b"mine");

    write(directory.path(), &outputs, true).unwrap();
    assert_eq!(names(directory.path()), ["a.profile", "b.profile"]);
    assert_ne!(fs::read(&path).unwrap(), b"mine");
}

#[test]
fn a_symbolic_link_is_refused_even_by_force() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("target");
    fs::write(&target, format!("{MARKER_PREFIX}\n")).unwrap();
    symlink(&target, directory.path().join("a.profile")).unwrap();
    symlink("/nonexistent", directory.path().join("dangling")).unwrap();
    for name in ["a.profile", "dangling"] {
        for force in [false, true] {
            let message = refusal(directory.path(), &[profile(name, "new")], force);
            assert!(message.contains("is a symbolic link"), "{message}");
        }
    }
    assert_eq!(names(directory.path()), ["a.profile", "dangling", "target"]);
    assert_eq!(
        fs::read(&target).unwrap(),
        format!("{MARKER_PREFIX}\n").as_bytes()
    );
}

#[test]
fn what_is_no_regular_file_is_refused_even_by_force() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("directory")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, directory.path().join("fifo"), Mode::RWXU).unwrap();
    for name in ["directory", "fifo"] {
        for force in [false, true] {
            let message = refusal(directory.path(), &[profile(name, "")], force);
            assert!(message.contains("is not a regular file"), "{message}");
        }
    }
}

#[test]
fn a_file_of_the_temporary_name_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let taken = format!(".harden-{}-0.tmp", std::process::id());
    symlink("/nonexistent/target", directory.path().join(&taken)).unwrap();
    write(directory.path(), &[profile("a.profile", "")], false).unwrap();
    assert_eq!(names(directory.path()), [taken.as_str(), "a.profile"]);
}

#[test]
fn what_came_into_being_after_the_check_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let staged = stage(directory.path(), &[profile("a.profile", "")], false).unwrap();
    let path = directory.path().join("a.profile");
    fs::write(&path, "mine").unwrap();
    let message = staged.commit().unwrap_err().to_string();
    assert!(message.contains("just come into being"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(names(directory.path()), ["a.profile"]);
}

#[test]
fn staged_files_that_are_never_committed_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    drop(stage(directory.path(), &[profile("a.profile", "")], false).unwrap());
    assert!(names(directory.path()).is_empty());
}

#[test]
fn names_that_would_leave_the_directory_or_meet_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", "../a", "/etc/passwd", "a\0b"] {
        let message = refusal(directory.path(), &[profile(name, "")], true);
        assert!(message.contains("cannot name a file"), "{message}");
    }
    let twice = [profile("a", "one"), profile("a", "two")];
    let message = refusal(directory.path(), &twice, true);
    assert!(message.contains("would be written twice"), "{message}");
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_directory_that_is_missing_or_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let message = refusal(&missing, &[profile("a", "")], false);
    assert!(message.contains("missing: No such file"), "{message}");
    assert!(message.contains("mkdir -p"), "{message}");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let message = refusal(&file, &[profile("a", "")], false);
    assert!(message.contains("Not a directory"), "{message}");
}

/// /sys takes no new file from anybody, root neither: EROFS where it is mounted read-only, as in
/// containers, else EACCES.
#[test]
fn a_directory_that_takes_no_files_is_named() {
    let message = refusal(Path::new("/sys"), &[profile("harden-test", "")], false);
    assert!(
        message.starts_with("cannot write /sys/harden-test: "),
        "{message}"
    );
    assert!(
        message.ends_with("write into another directory"),
        "{message}"
    );
}

/// Runs `work` in a tmpfs in a mount namespace of its own, with a umask that allows nothing: the
/// test `name`, which calls this, starts itself again there.
fn on_a_tmpfs(name: &str, options: &str, work: impl Fn(&Path)) {
    const DIRECTORY: &str = "HARDEN_TEST_DIRECTORY";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return work(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let user: &[&str] = if rustix::process::geteuid().is_root() {
        &["--mount"]
    } else {
        &["--mount", "--user", "--map-root-user"]
    };
    let script = "mount -t tmpfs -o \"$2\" tmpfs \"$HARDEN_TEST_DIRECTORY\" &&
        umask 0777 && exec \"$0\" --exact \"$1\"";
    let output = Command::new("unshare")
        .args(user)
        .args(["sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("output::tests::{name}"))
        .arg(options)
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(0) && complained.contains("Operation not permitted") {
        eprintln!("SKIPPED {name}: no mount namespace for this user: {complained}");
        return;
    }
    assert!(said.contains("1 passed"), "{said}{complained}");
}

#[test]
fn a_full_disk_is_named_and_leaves_no_file() {
    on_a_tmpfs(
        "a_full_disk_is_named_and_leaves_no_file",
        "size=64k",
        |directory| {
            let outputs = [profile("a", ""), profile("b", &"x".repeat(1 << 20))];
            let message = refusal(directory, &outputs, false);
            assert!(message.contains("/b: No space left on device"), "{message}");
            assert!(message.contains("free some space"), "{message}");
            assert!(names(directory).is_empty());
        },
    );
}

#[test]
fn the_mode_does_not_depend_on_the_umask() {
    on_a_tmpfs(
        "the_mode_does_not_depend_on_the_umask",
        "size=64k",
        |directory| {
            write(directory, &[profile("a", "")], false).unwrap();
            let metadata = fs::metadata(directory.join("a")).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
        },
    );
}

#[test]
fn a_read_only_file_system_is_named() {
    on_a_tmpfs("a_read_only_file_system_is_named", "ro", |directory| {
        let message = refusal(directory, &[profile("a", "")], false);
        assert!(message.contains("/a: Read-only file system"), "{message}");
        assert!(names(directory).is_empty());
    });
}

#[test]
fn a_file_keeps_its_owner_and_mode_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.toml");
    let outputs = [Output {
        name: "a.toml".to_owned(),
        content: Content::Bytes(b"new".to_vec()),
        ours: Ours::Marker,
    }];
    let write = || {
        let staged = stage_for(Access::Kept, directory.path(), &outputs, true);
        staged.unwrap().commit().unwrap();
        let status = fs::metadata(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        (
            status.permissions().mode() & 0o7777,
            status.uid(),
            status.gid(),
        )
    };
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    assert_eq!(write(), (0o644, user.as_raw(), group.as_raw()));
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4600)).unwrap();
    let (mut user, mut group) = (user.as_raw(), group.as_raw());
    if user == 0 {
        (user, group) = (65534, 65533);
        std::os::unix::fs::chown(&path, Some(user), Some(group)).unwrap();
    }
    assert_eq!(write(), (0o600, user, group));
}
