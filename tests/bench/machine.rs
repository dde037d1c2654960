//! What was measured on, and with which versions.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use harden_tests::harden;

/// What was measured on, and with which versions.
pub struct Machine {
    /// Each with its name.
    pub facts: Vec<(&'static str, String)>,
}

/// The tools whose versions matter, and the argument that prints it.
const TOOLS: [(&str, &str); 9] = [
    ("strace", "--version"),
    ("perf", "--version"),
    ("bpftrace", "--version"),
    ("gcc", "--version"),
    ("find", "--version"),
    ("dd", "--version"),
    ("redis-server", "--version"),
    ("/usr/sbin/nginx", "-v"),
    ("wrk", "--version"),
];

impl Machine {
    /// Looks at this one.
    pub fn look() -> Self {
        let mut facts = vec![
            ("processor", processor()),
            ("memory", memory()),
            ("kernel", first_line(&read("/proc/sys/kernel/osrelease"))),
            ("system", system()),
            ("load average at the start", load()),
        ];
        facts.push(("harden", version(harden::binary().as_ref(), "--version")));
        for (tool, argument) in TOOLS {
            let name = tool.rsplit('/').next().unwrap_or(tool);
            facts.push((name, version(Path::new(tool), argument)));
        }
        if let Some(shh) = env::var_os("HARDEN_SHH") {
            // It says its version only where it likes strace's. The directory has it too.
            let directory = Path::new(&shh).ancestors().nth(2).and_then(Path::file_name);
            let name = directory.map(|name| name.to_string_lossy().into_owned());
            facts.push(("shh", name.unwrap_or_else(|| "unknown".to_owned())));
        }
        Self { facts }
    }

    /// Notes what is known only once everything is measured.
    pub fn look_again(&mut self) {
        self.facts.push(("load average at the end", load()));
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or("unknown").trim().to_owned()
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let count = thread::available_parallelism().map_or(1, usize::from);
    format!("{count} × {}", field(&text, "model name"))
}

/// The value behind a name and a colon.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.trim_start().strip_prefix(':'));
    value.unwrap_or("unknown").trim().to_owned()
}

fn memory() -> String {
    let total = field(&read("/proc/meminfo"), "MemTotal");
    let kibibytes = total.trim_end_matches(" kB").parse::<u64>();
    kibibytes.map_or(total, |kibibytes| format!("{} MiB", kibibytes >> 10))
}

fn system() -> String {
    let text = read("/etc/os-release");
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}

/// Of the last minute.
fn load() -> String {
    let text = read("/proc/loadavg");
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// The first line that a tool prints, without its own name, or that it is not there.
fn version(tool: &Path, argument: &str) -> String {
    let output = Command::new(tool)
        .arg(argument)
        .stdin(Stdio::null())
        .output();
    match output {
        Err(error) => format!("cannot be run: {error}"),
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            first_line(&String::from_utf8_lossy(&text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: A fine one\n";
        assert_eq!(field(text, "model name"), "A fine one");
        assert_eq!(field(text, "flags"), "unknown");
        assert_eq!(first_line("\n strace 6.1\nmore"), "strace 6.1");
    }

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let said = version(Path::new("/nonexistent/tool"), "--version");
        assert!(said.starts_with("cannot be run: "), "{said}");
    }
}
