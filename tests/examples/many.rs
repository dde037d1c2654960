//! Writes an observation of very many facts, to measure with: `cargo run --package harden-tests --example many --
//! SPOOL 100000 FILE`, or another shape of `harden_tests::many::Shape`.

use std::{env, fs};

use anyhow::{Context as _, Result};
use harden_agent::observation::to_json;
use harden_tests::many::{self, Shape};

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let shape = arguments.next().context("which shape?")?;
    let count = arguments.next().context("how many facts?")?.parse()?;
    let file = arguments.next().context("which file?")?;
    let mut shapes = Shape::ALL.into_iter();
    let shape = shapes.find(|one| format!("{one:?}").eq_ignore_ascii_case(&shape));
    let observation = many::observation(shape.context("no such shape")?, count, 1)?;
    fs::write(&file, to_json(&observation)?)?;
    Ok(())
}
