//! How much work many facts are: for ten times the facts no function may execute more instructions than n log n gives.
//! Instructions are counted, which does not depend on the machine's load, and of each function by itself: what is done for
//! each pair shows there long before it shows in the sum.

use std::{
    collections::BTreeMap,
    env, fs,
    num::NonZero,
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Parser as _;
use harden_agent::{cli::Cli, observation};
use harden_tests::{
    Scratch,
    many::{self, Shape},
    met,
};

/// Tenfold facts may take so many times the instructions altogether.
const GROWTH: f64 = 12.0;

/// A function may take so many times what n log n gives: one that compares may do little else.
const SLACK: f64 = 1.4;

/// What a function may take for each fact all the same: what it does only where there is enough of something, such as
/// sorting in another way.
const FLOOR: f64 = 400.0;

/// Names the shapes and numbers of facts of [`every_command`], where its instructions are counted: `Spool 100,Tree 100`.
const FACTS: &str = "HARDEN_GROWTH_FACTS";

/// What is done with observations: `ONE` and `OTHER` have the same facts in two runs, and `NONE` has none.
const COMMANDS: [&str; 5] = [
    "render --overrides /nonexistent --format firejail,systemd,service,oci,accounts,yocto,login,report,observation \
     --out OUT ONE",
    "render --overrides /nonexistent --format firejail,systemd --paths exact --out OUT ONE",
    "merge --out OUT ONE OTHER",
    "diff ONE NONE",
    "explain --overrides /nonexistent ONE /",
];

/// How malloc or memmove go about it depends on sizes: they are counted with all.
const LIBRARIES: &str = "libraries";

/// Instructions executed by each function of a program, without those that it calls.
struct Instructions(BTreeMap<String, u64>);

impl Instructions {
    /// Of what callgrind writes (its manual, "Callgrind Format Specification").
    fn parse(text: &str, program: &Path) -> Self {
        let mut functions: BTreeMap<String, u64> = BTreeMap::new();
        let mut ours = false;
        let mut function = "";
        let mut is_call = false;
        for line in text.lines() {
            if let Some(object) = line.strip_prefix("ob=") {
                ours = Path::new(object) == program;
            } else if let Some(name) = line.strip_prefix("fn=") {
                // `'2` is the second level of a recursion.
                function = name.split('\'').next().unwrap_or(name);
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit()) {
                let count: Option<u64> =
                    line.split(' ').nth(1).and_then(|count| count.parse().ok());
                // The line after a call is what was called.
                if let (Some(count), false) = (count, is_call) {
                    let name = if ours { function } else { LIBRARIES };
                    *functions.entry(name.to_owned()).or_default() += count;
                }
                is_call = false;
            }
        }
        Self(functions)
    }

    fn of(&self, function: &str) -> u64 {
        self.0.get(function).copied().unwrap_or(0)
    }

    fn all(&self) -> u64 {
        self.0.values().sum()
    }
}

/// One size, and what it takes.
struct Measured {
    facts: usize,
    instructions: Instructions,
}

/// What grew too much from one size to the next, where `none` is what no fact takes.
#[expect(
    clippy::cast_precision_loss,
    reason = "a thousandth more or less is no matter"
)]
fn too_much(none: &Instructions, few: &Measured, many: &Measured) -> Vec<String> {
    let (fewer, more) = (few.facts as f64, many.facts as f64);
    let times = more / fewer;
    let n_log_n = times * more.ln() / fewer.ln() * SLACK;
    let exceeds = |name: &str, limit: f64, count: &dyn Fn(&Instructions) -> u64| {
        let none = count(none);
        let (few, many) = (count(&few.instructions), count(&many.instructions));
        let (few, many) = (few.saturating_sub(none), many.saturating_sub(none));
        let is_more = many as f64 > limit * few as f64 + FLOOR * more;
        is_more.then(|| format!("{name}: {few} became {many}, {limit:.1} times are allowed"))
    };
    let functions = many.instructions.0.keys();
    let functions = functions.filter(|name| *name != LIBRARIES);
    let functions = functions.filter_map(|name| exceeds(name, n_log_n, &|all| all.of(name)));
    let all = exceeds("altogether", times * GROWTH / 10.0, &Instructions::all);
    functions.chain(all).collect()
}

/// What so many facts of a shape take.
type Facts = (Shape, usize);

/// What each of `all` takes, in one process: valgrind takes seconds to read a program.
fn count(all: &[Facts], scratch: &Path) -> Result<Vec<Instructions>> {
    let program = env::current_exe()?;
    let file = scratch.join(format!("{:?}", thread::current().id()));
    let facts = all
        .iter()
        .map(|(shape, facts)| format!("{shape:?} {facts}"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no"])
        .args(["--compress-pos=no", "--dump-line=no"])
        .args(["--zero-before=*growth::work", "--dump-after=*growth::work"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(&program)
        .args(["--exact", "growth::every_command", "--test-threads=1"])
        .env(FACTS, facts.collect::<Vec<_>>().join(","))
        .output()?;
    ensure!(
        output.status.success(),
        "{all:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let of = |number: usize| -> Result<Instructions> {
        let file = file.with_added_extension(number.to_string());
        let text = fs::read(&file).context("callgrind wrote nothing")?;
        fs::remove_file(file)?;
        let text = String::from_utf8_lossy(&text);
        Ok(Instructions::parse(&text, &program))
    };
    (1..=all.len()).map(of).collect()
}

/// How many facts are measured: each ten times the one before.
fn sizes() -> Result<Vec<usize>> {
    let sizes = env::var("HARDEN_GROWTH").unwrap_or_else(|_| "100,1000".to_owned());
    let sizes: Result<Vec<usize>, _> = sizes.split(',').map(str::parse).collect();
    sizes.context("HARDEN_GROWTH")
}

#[test]
fn ten_times_the_facts_are_at_most_twelve_times_the_work() -> Result<()> {
    let name = "ten_times_the_facts_are_at_most_twelve_times_the_work";
    if !met(name, &["valgrind"]) {
        return Ok(());
    }
    let sizes = sizes()?;
    let scratch = Scratch::new(Path::new("/dev/shm"))?;
    let grown = Mutex::new(Vec::new());
    let measure = |shapes: &[Shape]| -> Result<()> {
        // What is done once in a process is in the first, which is not looked at.
        let none = [(Shape::Spool, 0); 2].into_iter();
        let facts = shapes
            .iter()
            .flat_map(|shape| sizes.iter().map(|facts| (*shape, *facts)));
        let all: Vec<Facts> = none.chain(facts).collect();
        let mut counted = count(&all, scratch.path())?.into_iter().skip(1);
        let none = counted.next().context("none is missing")?;
        for shape in shapes {
            let measured = sizes.iter().zip(counted.by_ref());
            let measured = measured.map(|(facts, instructions)| {
                println!("{shape:?} {facts}: {}", instructions.all());
                let facts = *facts;
                Measured {
                    facts,
                    instructions,
                }
            });
            let measured: Vec<_> = measured.collect();
            ensure!(measured.len() == sizes.len(), "a size is missing");
            for step in measured.windows(2) {
                let found = too_much(&none, &step[0], &step[1]);
                let lines = found.iter().map(|one| format!("{shape:?}: {one}"));
                let mut grown = grown.lock().unwrap_or_else(PoisonError::into_inner);
                grown.extend(lines);
            }
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| -> Result<()> {
        let measure = &measure;
        let parts = Shape::ALL.chunks(Shape::ALL.len().div_ceil(threads));
        let threads: Vec<_> = parts
            .map(|shapes| scope.spawn(move || measure(shapes)))
            .collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        Ok(())
    })?;
    let grown = grown.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        grown.is_empty(),
        "these instructions became too many:\n{}",
        grown.join("\n")
    );
    Ok(())
}

/// All commands, and what the agent does with its records, on the facts that are named, or on a few.
#[test]
fn every_command() -> Result<()> {
    let facts = env::var(FACTS).unwrap_or_else(|_| "System 20".to_owned());
    for one in facts.split(',') {
        let (shape, facts) = one.split_once(' ').context("SHAPE FACTS")?;
        let mut shapes = Shape::ALL.into_iter();
        let shape = shapes.find(|one| format!("{one:?}") == shape);
        work(shape.context("no such shape")?, facts.parse()?)?;
    }
    Ok(())
}

/// Not inlined: callgrind counts by its name.
#[inline(never)]
fn work(shape: Shape, facts: usize) -> Result<()> {
    let scratch = Scratch::new(Path::new("/dev/shm"))?;
    let path = |name: &str| scratch.path().join(name).display().to_string();
    for (name, run) in [("ONE", 1), ("OTHER", 2)] {
        let observation = many::observation(shape, facts, run)?;
        fs::write(path(name), observation::to_json(&observation)?)?;
    }
    let none = many::observation(shape, 0, 1)?;
    fs::write(path("NONE"), observation::to_json(&none)?)?;
    for command in COMMANDS {
        let words = command.split(' ').map(|word| match word {
            "OUT" => path(""),
            "ONE" | "OTHER" | "NONE" => path(word),
            word => word.to_owned(),
        });
        let cli = Cli::try_parse_from(["harden".to_owned()].into_iter().chain(words))?;
        cli.run().with_context(|| command.to_owned())?;
    }

    let mut observation = observation::read(Path::new(&path("ONE")))?;
    observation.fold(2, 2);
    observation.fold_names();
    observation.forget_folded();
    let json = observation::to_json(&observation)?;
    ensure!(observation::from_json(&json)? == observation);
    Ok(())
}
