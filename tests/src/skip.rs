//! Tests that cannot run here say so, and are counted.

use std::{env, fs::OpenOptions, io::Write as _, path::Path};

/// Says that a test cannot run on this machine; the caller returns at once. `cargo xtask test` counts
/// these, and fails over them with `CI=true`: skip only what was probed and cannot be had here.
///
/// # Panics
/// When the skip cannot be recorded: a skip that nobody counts would pass for a success.
pub fn skip(name: &str, reason: &str) {
    let line = format!("{name}: {reason}").replace('\n', " ");
    println!("SKIPPED {line}");
    // The harness hides what a passed test prints, so the line also goes where it is found.
    if let Some(file) = env::var_os("HARDEN_SKIPPED") {
        record(Path::new(&file), &line);
    }
}

fn record(file: &Path, line: &str) {
    // One write to a file opened for appending: lines of parallel tests do not mix.
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .and_then(|mut open| open.write_all(format!("{line}\n").as_bytes()));
    if let Err(error) = written {
        panic!(
            "could not record a skipped test in {}: {error}",
            file.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_skip_is_a_line_of_its_own() {
        let file = env::temp_dir().join(format!("harden-skip-{}", std::process::id()));
        record(&file, "one: no reason");
        record(&file, "two: another");
        let text = std::fs::read_to_string(&file).expect("just written");
        std::fs::remove_file(&file).expect("just written");
        assert_eq!(text, "one: no reason\ntwo: another\n");
    }
}
