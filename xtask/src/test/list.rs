//! `cargo xtask test --list`

use std::collections::BTreeSet;

use anyhow::Result;

use super::{UNIT, times};
use crate::{suites, vm};

/// Prints a line for each suite, and what it tests below.
pub fn print() -> Result<()> {
    let last = times::last();
    let took = |name: &str| {
        last.get(name)
            .map_or_else(|| "not yet".to_owned(), |seconds| format!("{seconds:.1} s"))
    };
    println!("{UNIT}: {}", took(UNIT));
    println!("    every function alone, and the examples of the documentation");
    for name in suites::names()? {
        let here = suites::is_here(&name).then(|| format!("here {}", took(&name)));
        let kernels: BTreeSet<_> = vm::guests(&name).flat_map(|guest| guest.kernels).collect();
        let prefix = format!("{name}@");
        let guests = kernels.into_iter().map(|kernel| {
            // One that asks for a parameter of the kernel has its value behind the name.
            let known = last.iter().find(|(part, _)| {
                let place = part.strip_prefix(&prefix);
                place.is_some_and(|place| place.split('-').next() == Some(kernel))
            });
            format!(
                "{kernel} {}",
                known.map_or_else(|| took(""), |(part, _)| took(part))
            )
        });
        let places: Vec<_> = here.into_iter().chain(guests).collect();
        println!("{name}: {}", places.join(", "));
        println!("    {}", suites::about(&name)?);
    }
    println!(
        "\nLast output of SUITE: {}; on a kernel: {}",
        suites::log("SUITE").display(),
        suites::log("SUITE@KERNEL").display()
    );
    Ok(())
}
