//! Runs a program that answers a question, and waits no longer than is reasonable.

use std::{
    ffi::OsStr,
    io::{self, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A program that has not answered by then will not: systemctl waits 90 s for a bus that hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer answers are cut off.
const ANSWER: u64 = 1 << 20;

/// What a program said and how it ended.
pub(super) struct Answer {
    /// Whether the exit status was 0.
    pub success: bool,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub error: String,
}

/// Runs `program` with `arguments`, without input.
///
/// # Errors
/// It cannot be started, or does not end in ten seconds; then it is killed.
pub(super) fn ask<S: AsRef<OsStr>>(program: S, arguments: &[&str]) -> io::Result<Answer> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = reader(child.stdout.take());
    let error = reader(child.stderr.take());
    let success = wait(&mut child)?;
    Ok(Answer {
        success,
        output: output.join().unwrap_or_default(),
        error: error.join().unwrap_or_default(),
    })
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What came before an error is an answer too.
            let _ = pipe.take(ANSWER).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child) -> io::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() > deadline {
            // It may have ended this moment.
            let _ = child.kill();
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Where `name` is in the directories of PATH, or in those that a superuser's PATH has.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_absolute() && file.is_file())
}

#[cfg(test)]
mod tests {
    use super::{ask, find};

    #[test]
    fn an_answer_has_both_ends() {
        let answer = ask("/bin/sh", &["-c", "echo out; echo err >&2; exit 3"]).unwrap();
        assert_eq!(answer.output, "out\n");
        assert_eq!(answer.error, "err\n");
        assert!(!answer.success);
        assert!(ask("/nonexistent/program", &[]).is_err());
    }

    #[test]
    fn programs_are_found() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program"), None);
    }
}
