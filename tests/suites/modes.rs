//! `--mode`: the lists of calls that name what is refused, under the real Firejail.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};
use harden_tests::{Profile, Scratch, harden, met};

/// It makes a call that Firejail refuses by itself.
const WORK: [&str; 3] = ["sh", "-c", "chroot / /bin/true && echo done"];

fn passes(profile: &Profile) -> Result<bool> {
    let directory = Scratch::new(Path::new("/run"))?;
    let file = directory.path().join("modes.profile");
    profile.write(&file)?;
    let mut firejail = Command::new("firejail");
    firejail.arg(format!("--profile={}", file.display()));
    let output = firejail.arg("--").args(WORK).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(
        said.contains("Child process initialized"),
        "there was no sandbox\n{said}"
    );
    ensure!(!said.contains("Warning: syscall"), "{said}");
    Ok(output.status.success() && said.contains("done"))
}

#[test]
fn what_was_seen_is_let_through_and_the_rest_of_the_list_is_not() -> Result<()> {
    let test = "what was seen is let through and the rest of the list is not";
    if !met(test, &["firejail", "chroot"]) {
        return Ok(());
    }
    for (mode, line) in [
        ("default", "seccomp !chroot"),
        ("blacklist", "seccomp.drop "),
    ] {
        let recorded = harden::record("modes", &["--mode", mode], &WORK)?;
        ensure!(recorded.status == 0, "{}", recorded.output);
        let profile = &recorded.profile;
        let whole = profile.text().to_owned();
        let found = profile.rules().find(|rule| rule.starts_with(line));
        let Some(found) = found else {
            anyhow::bail!("no {line}:\n{whole}");
        };
        ensure!(profile.arguments("seccomp.keep").is_empty(), "{whole}");
        ensure!(passes(profile)?, "under its own profile\n{whole}");
        // The same call, refused.
        let refused = match mode {
            "default" => whole.replace(found, "seccomp"),
            _ => whole.replace(found, &format!("{found},chroot")),
        };
        let directory = Scratch::new(Path::new("/run"))?;
        let file = directory.path().join("refused.profile");
        std::fs::write(&file, &refused)?;
        ensure!(
            !passes(&Profile::read(&file)?)?,
            "it is not refused\n{refused}"
        );
    }
    Ok(())
}
