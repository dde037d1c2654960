//! A shell pipeline of an ordinary user.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    process::Command,
};

use anyhow::Result;
use harden_tests::{Scratch, Work, met, skip};
use nix::unistd::User;

/// On every Debian and Ubuntu, and its login shell lets nobody in, as with most of what daemons run as.
const USER: &str = "games";

#[test]
fn words_are_counted() -> Result<()> {
    let test = "an ordinary user's pipeline";
    if !met(test, &["runuser", "sort", "uniq", "awk"]) {
        return Ok(());
    }
    let Some(user) = User::from_name(USER)? else {
        skip(test, "there is no user games");
        return Ok(());
    };
    // firejail.users(5) can keep users out.
    let allowed = Command::new("runuser")
        .args([
            "-u",
            USER,
            "--",
            "firejail",
            "--quiet",
            "--noprofile",
            "/bin/true",
        ])
        .output()?;
    if !allowed.status.success() {
        skip(test, &String::from_utf8_lossy(&allowed.stderr));
        return Ok(());
    }

    let dir = Scratch::new(Path::new("/tmp"))?;
    let dir = dir.path();
    chown(dir, Some(user.uid.as_raw()), None)?;
    let mut words = String::new();
    for i in 0..500 {
        writeln!(words, "word{}", i % 7)?;
    }
    fs::write(dir.join("in"), words)?;
    let out = dir.join("out");
    let script = format!(
        "sort {0}/in | uniq -c | awk '{{ print $2, $1 }}' > {0}/out",
        dir.display()
    );
    let work = Work {
        name: "pipeline",
        user: Some(USER),
        command: vec!["sh".into(), "-c".into(), script],
        reset: &|| {
            if out.exists() {
                fs::remove_file(&out)?;
            }
            Ok(())
        },
        result: &|| {
            let mut result = fs::read(&out)?;
            result.extend(fs::metadata(&out)?.uid().to_string().bytes());
            Ok(result)
        },
    };
    let known = work.record()?;
    let profile = known.profile();
    assert!(profile.has("caps.drop all"));
    assert!(profile.starts_directly());
    assert!(!profile.list("private-bin").contains(&"bash"));
    assert!(!profile.list("seccomp.keep").contains(&"socket"));

    known.passes()?;
    let pipe = profile
        .list("seccomp.keep")
        .into_iter()
        .find(|call| call.starts_with("pipe"))
        .map(str::to_owned);
    known.needs("seccomp.keep", &pipe.unwrap_or_default())?;
    known.needs("private-bin", "awk")?;
    known.needs("private-bin", "uniq")?;
    known.needs("read-write", &dir.display().to_string())
}
