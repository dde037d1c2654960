//! How long `harden run` takes until the program runs and after it has ended, and what it does meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    time::SystemTime,
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::harden;

use crate::{condition::Condition, effort::Effort, held, place::Place, statistics::Spread};

/// What is compared: what a command is started with.
const TOOLS: [Condition; 5] = [
    Condition::Bare,
    Condition::Run,
    Condition::Strace,
    Condition::PerfTrace,
    Condition::Shh,
];

/// What a short command takes, in nanoseconds.
pub struct Startup {
    /// For each tool, until the command runs, and from then on.
    pub tools: Vec<(Condition, Result<(Spread, Spread)>)>,
    /// What `harden run` does until then.
    pub parts: Result<Parts>,
    /// The most that `harden run` has had resident when its program runs, in KiB.
    pub memory: Result<u64>,
}

/// Measures.
pub fn measure(place: &Place, effort: &Effort) -> Startup {
    let mut times: BTreeMap<Condition, Result<Vec<(f64, f64)>>> = BTreeMap::new();
    for _ in 0..=effort.repetitions * 2 {
        for tool in TOOLS {
            let so_far = times.entry(tool).or_insert_with(|| Ok(Vec::new()));
            if let Ok(figures) = so_far {
                match start(held::tool(tool, place)) {
                    Ok(times) => figures.push(times),
                    Err(error) => *so_far = Err(error),
                }
            }
        }
    }
    let tools = times.into_iter().map(|(tool, times)| {
        let spreads = times.and_then(|times| {
            let (before, after): (Vec<f64>, Vec<f64>) = times.into_iter().unzip();
            Spread::of(&before)
                .zip(Spread::of(&after))
                .context("no figures")
        });
        (tool, spreads)
    });
    Startup {
        tools: tools.collect(),
        parts: parts(place),
        memory: memory(place),
    }
}

/// As the program sees it: `harden run` is its parent.
fn memory(place: &Place) -> Result<u64> {
    let mut command = held::tool(Condition::Run, place);
    command.args(["sh", "-c", "grep VmHWM: /proc/$PPID/status"]);
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = text.split_whitespace().nth(1);
    figure
        .and_then(|figure| figure.parse().ok())
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Nanoseconds until date(1) tells the time, and from then until the end.
fn start(mut command: Command) -> Result<(f64, f64)> {
    command.args(["date", "+%s%N"]).stdin(Stdio::null());
    let before = since_epoch()?;
    let output = command.output()?;
    let after = since_epoch()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), error);
    let told = text.lines().find_map(|line| line.parse::<u128>().ok());
    let told = told.context("date told no time")?;
    ensure!(before <= told && told <= after, "the clock was set");
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    Ok(((told - before) as f64, (after - told) as f64))
}

fn since_epoch() -> Result<u128> {
    Ok(SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_nanos())
}

/// What `harden run` does until the program runs, and after it has ended, while strace watches its calls of bpf(2).
#[derive(Debug, PartialEq)]
pub struct Parts {
    /// From the start of harden until the program runs, in seconds.
    pub until_run: f64,
    /// From the end of the program until that of harden.
    pub after_end: f64,
    /// For each command of bpf(2): how often, and how many seconds, until the program runs.
    pub before: BTreeMap<String, (usize, f64)>,
}

fn parts(place: &Place) -> Result<Parts> {
    let trace = place.path("startup.strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-ttt", "-T", "--seccomp-bpf"]);
    command.args(["-e", "trace=bpf,execve", "-o"]).arg(&trace);
    command.arg(harden::binary());
    command.args(["run", "--quiet", "--name", "bench", "--out"]);
    command.arg(place.recorded()).args(["--", "/bin/true"]);
    let output = command.output().context("strace")?;
    ensure!(
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned()
    );
    parse(&fs::read_to_string(&trace)?).context("strace did not show the start")
}

/// Reads what strace wrote.
fn parse(trace: &str) -> Option<Parts> {
    let mut lines = trace.lines().filter_map(Line::parse);
    let begin = lines.next()?.at;
    let mut before: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
    let mut program = None;
    let mut ended = None;
    let mut last = begin;
    for line in lines {
        last = line.at;
        if line.said.starts_with("execve(\"/bin/true\"") && line.said.contains(" = 0") {
            program = Some((line.process, line.at));
        }
        match program {
            Some((process, _)) if process == line.process && line.said.starts_with("+++") => {
                ended = Some(line.at);
            }
            Some(_) => {}
            None => {
                let command = line.bpf_command().or_else(|| {
                    let resumed = line.said.starts_with("<... bpf resumed>");
                    resumed.then(|| unfinished.remove(line.process))?
                });
                match (command, line.took()) {
                    (Some(command), Some(took)) => {
                        let part = before.entry(command.to_owned()).or_default();
                        *part = (part.0 + 1, part.1 + took);
                    }
                    (Some(command), None) => drop(unfinished.insert(line.process, command)),
                    (None, _) => {}
                }
            }
        }
    }
    Some(Parts {
        until_run: program?.1 - begin,
        after_end: last - ended?,
        before,
    })
}

/// A line of what strace wrote.
struct Line<'a> {
    process: &'a str,
    at: f64,
    said: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (process, rest) = line.split_once(' ')?;
        let (at, said) = rest.trim_start().split_once(' ')?;
        Some(Self {
            process,
            at: at.parse().ok()?,
            said,
        })
    }

    fn bpf_command(&self) -> Option<&'a str> {
        let rest = self.said.strip_prefix("bpf(")?;
        rest.split(|c: char| !c.is_ascii_uppercase() && c != '_')
            .next()
    }

    /// Seconds, where it says that the call has ended.
    fn took(&self) -> Option<f64> {
        let (_, took) = self.said.rsplit_once('<')?;
        took.strip_suffix('>')?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed_until_the_program_runs() {
        let trace = "10 100.0 execve(\"/usr/bin/harden\", [\"harden\"], 0x1) = 0 <0.001>\n\
                     10 100.1 bpf(BPF_PROG_LOAD, {a=\"<x>\"}, 148) = 5 <0.002>\n\
                     11 100.2 bpf(BPF_PROG_LOAD, {a} <unfinished ...>\n\
                     10 100.3 bpf(BPF_MAP_CREATE, {b}, 80) = 6 <0.004>\n\
                     11 100.4 <... bpf resumed>, 148) = 7 <0.003>\n\
                     12 100.5 execve(\"/bin/true\", [\"/bin/true\"], 0x2) = 0 <0.001>\n\
                     12 100.6 +++ exited with 0 +++\n\
                     10 100.7 bpf(BPF_MAP_LOOKUP_ELEM, {b}, 80) = 0 <0.004>\n\
                     10 101.0 +++ exited with 0 +++\n";
        let parts = parse(trace).expect("a trace");
        assert!((parts.until_run - 0.5).abs() < 1e-6, "{parts:?}");
        assert!((parts.after_end - 0.4).abs() < 1e-6, "{parts:?}");
        let load = parts.before["BPF_PROG_LOAD"];
        assert_eq!(load.0, 2);
        assert!((load.1 - 0.005).abs() < 1e-6, "{parts:?}");
        assert_eq!(parts.before["BPF_MAP_CREATE"], (1, 0.004));
        assert_eq!(parts.before.len(), 2);
        assert_eq!(parse("10 100.0 execve(\"x\") = 0 <0.001>\n"), None);
    }
}
