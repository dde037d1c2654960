//! make and gcc: hundreds of short processes, each of them seen.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;
use harden_tests::{Scratch, Work, met};

/// Source files beside main.c.
const FILES: usize = 60;

const MAKEFILE: &str = "\
OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
program: $(OBJECTS)
\tgcc -o $@ $(sort $^)
%.o: %.c
\tgcc -c -o $@ $<
";

fn project(dir: &Path) -> Result<()> {
    let mut main = String::from("#include <stdio.h>\n");
    let mut sum = String::from("0");
    for i in 0..FILES {
        fs::write(
            dir.join(format!("f{i}.c")),
            format!("int f{i}(int x) {{ return x + {i}; }}\n"),
        )?;
        writeln!(main, "int f{i}(int);")?;
        write!(sum, " + f{i}({i})")?;
    }
    writeln!(
        main,
        "int main(void) {{ return printf(\"%d\\n\", {sum}) < 0; }}"
    )?;
    fs::write(dir.join("main.c"), main)?;
    Ok(fs::write(dir.join("Makefile"), MAKEFILE)?)
}

/// `make clean`.
fn clean(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end == "o") && !path.ends_with("Makefile") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[test]
fn a_project_of_many_files() -> Result<()> {
    if !met("make", &["make", "gcc"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/srv"))?;
    let dir = dir.path();
    project(dir)?;
    let work = Work {
        name: "make",
        user: None,
        command: ["make", "-j2", "-C"]
            .map(str::to_owned)
            .into_iter()
            .chain([dir.display().to_string()])
            .collect(),
        reset: &|| clean(dir),
        result: &|| Ok(fs::read(dir.join("program"))?),
    };
    let known = work.record()?;
    let profile = known.profile();
    assert!(profile.has("caps.drop all"));
    assert!(profile.has("seccomp.block-secondary"));
    assert!(!profile.list("seccomp.keep").contains(&"socket"));
    // gcc compiles in temporary files, all of which it removes.
    assert!(profile.has("private-tmp"));
    for run in known.recorded.observation.runs.values() {
        assert!(run.losses.is_empty(), "{:?}", run.losses);
        let compiled = run
            .executables
            .iter()
            .filter(|(path, _)| path.to_string().ends_with("/cc1"))
            .map(|(_, cc1)| cc1.syscalls.values())
            .flat_map(|abis| {
                abis.filter_map(|calls| {
                    calls.iter().find(|(name, _)| name.as_str() == "exit_group")
                })
            })
            .map(|(_, seen)| seen.count())
            .collect::<Vec<_>>();
        assert_eq!(compiled, [Some(FILES as u64 + 1)]);
    }

    known.passes()?;
    known.needs("seccomp.keep", "vfork")?;
    known.needs("private-bin", "ld")?;
    known.needs("private-bin", "as")?;
    known.needs("read-write", &dir.display().to_string())
}
