//! A static busybox: no loader, no library, nothing that could be preloaded.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};

use anyhow::{Result, ensure};
use harden_tests::{Scratch, Work, met, programs};

const BUSYBOX: &str = "/bin/busybox";

/// Lists, edits, packs, and gives a file away.
const SCRIPT: &str = r#"
set -e
cd "$1"
rm -r old
mkdir new
for i in 1 2 3; do echo "line $i" > new/$i; done
ls new | sed s/^/file-/ > list
tar cf all.tar new list
mv new/1 new/first
chown 12:34 new/2
tar tf all.tar
"#;

fn again(dir: &Path) -> Result<()> {
    for name in ["old", "new"] {
        if dir.join(name).exists() {
            fs::remove_dir_all(dir.join(name))?;
        }
    }
    for name in ["list", "all.tar"] {
        if dir.join(name).exists() {
            fs::remove_file(dir.join(name))?;
        }
    }
    fs::create_dir(dir.join("old"))?;
    Ok(fs::write(dir.join("old/file"), "")?)
}

fn made(dir: &Path) -> Result<Vec<u8>> {
    let given = fs::metadata(dir.join("new/2"))?;
    let mut made = format!("{}:{} ", given.uid(), given.gid()).into_bytes();
    made.extend(fs::read(dir.join("new/first"))?);
    made.extend(fs::read(dir.join("list"))?);
    ensure!(dir.join("all.tar").metadata()?.len() > 0, "empty archive");
    ensure!(!dir.join("old").exists(), "what was old is still there");
    Ok(made)
}

#[test]
fn a_script_of_applets() -> Result<()> {
    if !met("busybox", &[BUSYBOX]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/srv"))?;
    let dir = dir.path();
    let work = Work {
        name: "busybox",
        user: None,
        command: [BUSYBOX, "sh", "-c", SCRIPT, "sh"]
            .map(str::to_owned)
            .into_iter()
            .chain([dir.display().to_string()])
            .collect(),
        reset: &|| again(dir),
        result: &|| made(dir),
    };
    let known = work.record()?;
    for run in known.recorded.observation.runs.values() {
        for (path, executable) in &run.executables {
            assert!(executable.interpreters.is_empty(), "{path} is not static");
        }
    }
    let profile = known.profile();
    assert_eq!(profile.list("caps.keep"), ["chown"]);
    assert!(profile.has("seccomp.block-secondary"));
    assert_eq!(profile.list("protocol"), [""; 0]);
    assert!(!profile.list("seccomp.keep").contains(&"socket"));
    assert_eq!(profile.list("private-bin"), ["bash", "busybox"]);

    known.passes()?;
    known.needs("seccomp.keep", "rename")?;
    known.needs("seccomp.keep", "unlink")?;
    known.needs("caps.keep", "chown")?;
    known.needs("private-bin", "busybox")?;
    known.needs("read-write", &dir.display().to_string())
}

#[test]
fn a_copy_in_tmp_under_the_names_of_its_applets() -> Result<()> {
    if !met("busybox in /tmp", &[BUSYBOX]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/tmp"))?;
    let dir = dir.path();
    programs::copy(BUSYBOX, dir.join("busybox"))?;
    for applet in ["sh", "cat", "sed"] {
        symlink("busybox", dir.join(applet))?;
    }
    let (sh, cat, sed) = (dir.join("sh"), dir.join("cat"), dir.join("sed"));
    let result = dir.join("result");
    let script = format!(
        "echo one two | {} | {} s/two/three/ > {}",
        cat.display(),
        sed.display(),
        result.display()
    );
    let work = Work {
        name: "applets",
        user: None,
        command: vec![sh.display().to_string(), "-c".into(), script],
        reset: &|| {
            if result.exists() {
                fs::remove_file(&result)?;
            }
            Ok(())
        },
        result: &|| Ok(fs::read(&result)?),
    };
    let known = work.record()?;
    let profile = known.profile();
    assert!(profile.has("caps.drop all"));
    // Of the fixed directories only Firejail's own shell is needed.
    assert_eq!(profile.list("private-bin"), ["bash"]);
    known.passes()?;
    let pipe = profile
        .list("seccomp.keep")
        .into_iter()
        .find(|call| call.starts_with("pipe"))
        .map(str::to_owned);
    known.needs("seccomp.keep", &pipe.unwrap_or_default())
}
