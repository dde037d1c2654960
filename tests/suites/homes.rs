//! `private`: what was looked for in a home directory in vain stays 'not found', whatever is put there later, where a
//! hidden directory would answer otherwise.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use harden_tests::{Scratch, Work, met};

#[test]
fn what_was_looked_for_in_vain_stays_not_found() -> Result<()> {
    if !met("homes", &["sh", "cat"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/srv"))?;
    let (dir, home) = (dir.path(), Scratch::new(Path::new("/root"))?);
    let secret = home.path().with_extension("secret");
    drop(home);
    let out = dir.join("answer");
    let script = format!(
        "cd /root && cat {} 2>{}; true",
        secret.display(),
        out.display()
    );
    let work = Work {
        name: "homes",
        user: None,
        command: vec!["sh".into(), "-c".into(), script],
        reset: &|| Ok(fs::write(&out, "")?),
        result: &|| Ok(fs::read(&out)?),
    };
    let known = work.record()?;
    let answer = fs::read_to_string(&out)?;
    ensure!(answer.contains("No such file"), "{answer}");
    let profile = known.profile();
    ensure!(profile.has("private"), "{}", profile.text());
    ensure!(!profile.has("blacklist /root"), "{}", profile.text());

    known.passes()?;
    let without = profile.without_line("private");
    known.fails(&without.with("blacklist /root"))?;
    // A process that puts one there does not put it into the sandbox.
    fs::write(&secret, "secret\n")?;
    let kept = known.passes();
    let shown = known.fails(&without);
    fs::remove_file(&secret)?;
    kept.and(shown)
}
