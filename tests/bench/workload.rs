//! What is done while a condition is in force, and what one operation of it takes.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use harden_tests::Process;

use crate::{condition::Condition, effort::Effort, held::Held, place::Place, server::Server};

/// A tool that stops each call takes so long at most.
const PATIENCE: Duration = Duration::from_mins(2);

/// Something that is done in one go, and gives one or more rows of the tables.
#[derive(Clone, Copy, Debug)]
pub enum Workload {
    /// What `calls` measures of itself.
    Calls(&'static [&'static str]),
    Copy,
    Find,
    Compile,
    Server(Server),
}

/// In the order of the tables.
pub const WORKLOADS: [Workload; 10] = [
    Workload::Calls(&[
        "getppid",
        "read",
        "write",
        "open",
        "close",
        "futex",
        "epoll_wait",
    ]),
    Workload::Calls(&["threads"]),
    Workload::Calls(&["same", "distinct"]),
    Workload::Calls(&["spawn"]),
    Workload::Calls(&["cgroup"]),
    Workload::Copy,
    Workload::Find,
    Workload::Compile,
    Workload::Server(Server::Redis),
    Workload::Server(Server::Nginx),
];

/// One row of the tables: its name in results, and what a reader is told.
pub struct Row {
    pub name: &'static str,
    pub title: &'static str,
    /// Is it a call alone, which can be compared with the empty programs?
    pub is_call: bool,
}

const fn row(name: &'static str, title: &'static str, is_call: bool) -> Row {
    Row {
        name,
        title,
        is_call,
    }
}

/// In the order of the tables.
pub const ROWS: [Row; 18] = [
    row("getppid", "getppid", true),
    row("read", "read of one byte of /dev/zero", true),
    row("write", "write of one byte to /dev/null", true),
    row("open", "open of one file, again and again", true),
    row("close", "close", true),
    row("futex", "futex, waking no thread", true),
    row("epoll_wait", "epoll_wait, without an event", true),
    row("threads", "getppid, in two threads on two processors", true),
    row("same", "open and close, always the same file", true),
    row("distinct", "open and close, each time another file", true),
    row("spawn", "fork and exec of /bin/true", false),
    row("cgroup", "a cgroup made and removed", false),
    row("dd", "dd bs=1, for one byte", false),
    row("find", "find -size, 100 directories, 2,000 files", false),
    row("compile", "gcc -O2 -c of a small file", false),
    row("set", "redis-benchmark, one SET", false),
    row("get", "redis-benchmark, one GET", false),
    row("request", "nginx under wrk, one request", false),
];

/// The names of rows, each with the nanoseconds of one operation.
pub type Figures = Vec<(String, f64)>;

impl Workload {
    /// Does it once.
    pub fn measure(
        self,
        held: &Held<'_>,
        condition: Condition,
        place: &Place,
        effort: &Effort,
    ) -> Result<Figures> {
        let result = place.path("result");
        let mut command = held.command(condition);
        match self {
            Self::Calls(what) => {
                command.args([&place.calls, &result]);
                command.args([effort.milliseconds.to_string(), effort.rounds.to_string()]);
                command.args([&place.files, &place.cgroup]).args(what);
            }
            Self::Copy => {
                let bytes = condition.scaled(200_000);
                timed(&mut command, place, &result, "dd", bytes, effort);
                command.args(["dd", "if=/dev/zero", "of=/dev/null", "bs=1"]);
                command.arg(format!("count={bytes}"));
            }
            Self::Find => {
                timed(&mut command, place, &result, "find", 1, effort);
                command.arg("find").arg(&place.tree);
                command.args(["-size", "+1"]);
            }
            Self::Compile => {
                let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/deeds.c");
                timed(&mut command, place, &result, "compile", 1, effort);
                command.args(["gcc", "-O2", "-c", "-o"]);
                command.args([place.path("compiled"), source]);
            }
            Self::Server(server) => return server.measure(command, condition, place, effort),
        }
        run(&mut command)?;
        read(&result)
    }

    /// The rows that it gives.
    pub fn rows(self) -> &'static [&'static str] {
        match self {
            Self::Calls(what) => what,
            Self::Copy => &["dd"],
            Self::Find => &["find"],
            Self::Compile => &["compile"],
            Self::Server(server) => server.rows(),
        }
    }
}

/// Has what follows timed.
fn timed(
    command: &mut Command,
    place: &Place,
    result: &Path,
    row: &str,
    operations: usize,
    effort: &Effort,
) {
    command.arg(&place.timed).arg(result).arg(row);
    command.args([operations.to_string(), effort.rounds.to_string()]);
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<()> {
    let mut process = Process::start(command)?.patience(PATIENCE);
    let status = process.wait()?;
    ensure!(status.success(), "{}", reason(&process.output()));
    Ok(())
}

/// The line of a tool's output that names what is wrong.
pub fn reason(output: &str) -> String {
    let lines = || {
        output
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let error = lines().find(|line| line.to_lowercase().contains("error"));
    let line = error.or_else(|| lines().next());
    line.unwrap_or("it failed, and said nothing").to_owned()
}

/// What a workload wrote, and removes it.
pub fn read(result: &Path) -> Result<Figures> {
    let text = fs::read_to_string(result).context("the workload wrote no result")?;
    fs::remove_file(result)?;
    parse(&text)
}

fn parse(text: &str) -> Result<Figures> {
    let figure = |line: &str| {
        let (row, figure) = line.split_once(' ').context("no figure")?;
        Ok((row.to_owned(), figure.parse()?))
    };
    text.lines().map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_of_one_workload() {
        let measured: Vec<&str> = WORKLOADS
            .iter()
            .flat_map(|workload| workload.rows())
            .copied()
            .collect();
        let shown: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(measured, shown);
    }

    #[test]
    fn results_are_read() -> Result<()> {
        let figures = parse("read 12.5\nread 13\n")?;
        assert_eq!(figures, [("read".into(), 12.5), ("read".into(), 13.0)]);
        assert!(parse("read\n").is_err());
        Ok(())
    }

    #[test]
    fn the_reason_is_what_is_wrong() {
        let shh = "INFO  [shh] Detected versions\nError: Strace version >=6.6 is required\n\nStack";
        assert_eq!(reason(shh), "Error: Strace version >=6.6 is required");
        let env = "env: 'x': No such file or directory\n";
        assert_eq!(reason(env), env.trim());
        assert_eq!(reason("\n"), "it failed, and said nothing");
    }
}
