//! Calls of the 32-bit ABI, which Firejail can refuse altogether or not at all.

#![cfg(target_arch = "x86_64")]

use std::{fs, path::Path};

use anyhow::Result;
use harden_tests::{Known, Scratch, Work, met, programs};

const BLOCK: &str = "seccomp.block-secondary";

fn needs(test: &str) -> bool {
    met(test, &[])
}

/// Records `program`, which writes the file that it is told.
fn recorded<R>(
    name: &str,
    program: &Path,
    more: &[&str],
    then: impl FnOnce(&Known<'_>) -> Result<R>,
) -> Result<R> {
    let file = program.with_extension("result");
    let mut command = vec![program.display().to_string(), file.display().to_string()];
    command.extend(more.iter().map(|&word| word.to_owned()));
    let work = Work {
        name,
        user: None,
        command,
        reset: &|| {
            if file.exists() {
                fs::remove_file(&file)?;
            }
            Ok(())
        },
        result: &|| Ok(fs::read(&file)?),
    };
    then(&work.record()?)
}

#[test]
fn a_32_bit_program() -> Result<()> {
    if !needs("a 32-bit program") {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/opt"))?;
    let program = programs::install("files-32", &dir)?;
    recorded("narrow", &program, &[], |known| {
        assert!(!known.profile().has(BLOCK));
        assert!(known.profile().has("caps.drop all"));
        assert!(
            known.recorded.output.contains("32-bit calls were made"),
            "{}",
            known.recorded.output
        );
        known.passes()?;
        known.fails(&known.profile().with(BLOCK))?;
        known.needs("read-write", &dir.path().display().to_string())
    })
}

#[test]
fn a_64_bit_program_that_makes_a_32_bit_call() -> Result<()> {
    if !needs("a 32-bit call") {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/tmp"))?;
    let program = programs::install("mixed", &dir)?;
    recorded("mixed", &program, &["32"], |known| {
        assert!(!known.profile().has(BLOCK));
        assert!(known.recorded.output.contains("32-bit calls were made"));
        // What it calls natively is confined all the same.
        known.passes()?;
        known.fails(&known.profile().with(BLOCK))?;
        known.needs("seccomp.keep", "write")
    })
}

#[test]
fn a_64_bit_program_cannot_make_32_bit_calls() -> Result<()> {
    if !needs("no 32-bit call") {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/tmp"))?;
    let program = programs::install("mixed", &dir)?;
    recorded("wide", &program, &[], |known| {
        assert!(known.profile().has(BLOCK));
        known.passes()?;
        known.needs("seccomp.keep", "write")?;
        known.needs("read-write", &dir.path().display().to_string())?;
        // The same program, told to do more than was recorded.
        known.fails_with(&["32"])
    })
}
