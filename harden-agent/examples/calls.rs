//! Prints the system calls of an observation, and how many programs made each:
//! `cargo run --example calls NAME.observation.json`

use std::{collections::BTreeMap, env, path::Path};

use harden_agent::observation;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = env::args().nth(1).ok_or("which observation?")?;
    let mut programs: BTreeMap<String, usize> = BTreeMap::new();
    for run in observation::read(Path::new(&file))?.runs.values() {
        for facts in run.executables.values() {
            for name in facts.syscalls.values().flat_map(BTreeMap::keys) {
                *programs.entry(name.to_string()).or_default() += 1;
            }
        }
    }
    for (name, count) in programs {
        println!("{count:4} {name}");
    }
    Ok(())
}
