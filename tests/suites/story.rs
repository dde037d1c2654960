//! docs/story.sh, as a reader would run it: on a machine with the package installed. Costs some 90 s emulated.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Installed, Scratch};

const SCRIPT: &str = include_str!("../../docs/story.sh");
const PAGE: &str = include_str!("../../docs/story.md");

#[test]
fn a_daemon_is_confined_changed_and_confined_again() -> Result<()> {
    let installed = Installed::fresh()?;
    let scratch = Scratch::new(Path::new("/run"))?;
    let script = scratch.path().join("story.sh");
    fs::write(&script, SCRIPT)?;
    let output = Command::new("sh").arg(&script).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    println!("{said}");
    ensure!(output.status.success(), "{}", output.status);

    let mut rest: &str = &said;
    for part in [
        "\n## 2. Shadow",
        "\n## 3. Apply",
        "proof holds",
        "\n## 4. The next version",
        "proof is STALE: /usr/local/bin/restd-story was changed",
        "\n## 5. Why?",
        "native statfs refused",
        "by     SystemCallFilter= (/etc/systemd/system/restd-story.service.d/50-harden.conf:",
        "\n## 6. Accept",
        "\"statfs\"",
        "proof holds",
    ] {
        let at = rest
            .find(part)
            .with_context(|| format!("no `{part}` in its place"))?;
        rest = &rest[at + part.len()..];
    }
    // It leaves nothing behind.
    for path in [
        "/etc/systemd/system/restd-story.service",
        "/etc/systemd/system/restd-story.service.d",
        "/var/lib/harden-apply/restd-story.service",
        "/usr/local/bin/restd-story",
    ] {
        ensure!(!Path::new(path).exists(), "{path} is left");
    }
    let units = installed.units()?;
    ensure!(
        !units
            .iter()
            .any(|unit| unit.unit.to_string() == "restd-story.service")
    );
    Ok(())
}

/// The commands of harden's that the page shows are those of the script, and all of them.
#[test]
fn the_page_shows_what_the_script_does() -> Result<()> {
    let commands = |text: &str, start: &str| -> BTreeSet<String> {
        let lines = text.lines().map(str::trim);
        let commands = lines.filter_map(|line| Some(line.split_once(start)?.1));
        let plain = commands.map(|command| {
            let command = command
                .replace("$UNIT", "restd-story")
                .replace("$TEST", "restd-story-test");
            // Which of several tests it is.
            command.replace("$life", "first").replace("$test", "a")
        });
        plain
            .filter(|command| !command.contains(">/dev/null"))
            .collect()
    };
    let script = commands(SCRIPT, "harden ");
    let page = commands(PAGE, "$ harden ");
    let said: BTreeSet<_> = script
        .iter()
        .filter(|command| !command.starts_with('#'))
        .cloned()
        .collect();
    ensure!(page == said, "page: {page:#?}\nscript: {said:#?}");
    Ok(())
}
