//! Calls of the 32-bit ABI, which Firejail can refuse altogether or not at all.

use std::{fs, path::Path};

use anyhow::Result;
use harden_tests::{Known, Scratch, Work, compile, met};

const BLOCK: &str = "seccomp.block-secondary";

/// Writes a file, and reads it.
const FILES: &str = r#"
#include <stdio.h>
int main(int count, char **words) {
    char line[16] = "";
    FILE *file = fopen(count > 1 ? words[1] : "", "w");
    if (!file || fputs("done\n", file) < 0 || fclose(file) != 0) return 1;
    file = fopen(words[1], "r");
    return !file || !fgets(line, sizeof line, file) || line[0] != 'd';
}
"#;

/// Writes a file; with a further argument makes getpid's call of the 32-bit ABI before.
const MIXED: &str = r#"
#include <stdio.h>
int main(int count, char **words) {
    long result = 20;
    if (count > 2) __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    if (result <= 0) return 1;
    FILE *file = fopen(count > 1 ? words[1] : "", "w");
    return !file || fputs("done\n", file) < 0 || fclose(file) != 0;
}
"#;

fn needs(test: &str) -> bool {
    met(test, &["gcc"])
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
    let program = compile::c(dir.path(), "narrow", FILES, &["-m32"])?;
    recorded("narrow", &program, &[], |known| {
        assert!(!known.profile().has(BLOCK));
        assert!(known.profile().has("caps.drop all"));
        assert!(
            known.recorded.output.contains("32-bit or x32 calls"),
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
    let program = compile::c(dir.path(), "mixed", MIXED, &[])?;
    recorded("mixed", &program, &["32"], |known| {
        assert!(!known.profile().has(BLOCK));
        assert!(known.recorded.output.contains("32-bit or x32 calls"));
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
    let program = compile::c(dir.path(), "wide", MIXED, &[])?;
    recorded("wide", &program, &[], |known| {
        assert!(known.profile().has(BLOCK));
        known.passes()?;
        known.needs("seccomp.keep", "write")?;
        known.needs("read-write", &dir.path().display().to_string())?;
        // The same program, told to do more than was recorded.
        known.fails_with(&["32"])
    })
}
