//! Which lines of a drop-in allow what was recorded, and which refuse it:
//! `cargo run --example judge NAME.observation.json NAME.drop-in.conf`

use std::{env, fs, path::Path};

use harden_agent::{
    observation,
    policy::judge::{Judge, Recorded, Surroundings, systemd},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = env::args().skip(1);
    let recorded = files.next().ok_or("which observation?")?;
    let observation = observation::read(Path::new(&recorded))?;
    let drop_in = fs::read_to_string(files.next().ok_or("which drop-in?")?)?;
    let read = systemd::read(&drop_in);
    for one in &read.unread {
        println!("{} is not judged: {}", one.position, one.reason);
    }
    let judge = Judge::new(
        &read.rules,
        &Surroundings::of(&observation, Default::default()),
    );
    for case in Recorded::of(&observation).cases() {
        println!("{}: {}", case.fact, judge.judge(&case));
    }
    Ok(())
}
