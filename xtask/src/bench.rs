//! `cargo xtask bench`: what observing costs, beside what other tools cost.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    build, page, process, programs,
    setup::{self, Scope},
    workspace::{self, Profile},
};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Measure less, in under three minutes, and leave docs/performance.md and the README as they are
    #[arg(long)]
    quick: bool,
}

const PAGE: &str = "docs/performance.md";

/// `cargo xtask bench`
pub fn main(args: &Args) -> Result<()> {
    let harden = build::build(&setup::provide(Scope::Bench)?, Profile::Release)?;
    programs::build()?;
    // As tests are built: with the features that all packages want.
    let mut cargo = process::cargo();
    process::run(cargo.args(["build", "--workspace", "--bin", "harden-bench"]))?;

    let figures = workspace::performance();
    let program = workspace::harden(Profile::Dev).with_file_name("harden-bench");
    let mut bench = process::as_root_with_environment(program);
    bench
        .env("HARDEN_BIN", harden)
        .env("HARDEN_TEST_PROGRAMS", workspace::test_programs())
        .env(
            "HARDEN_BENCH_OBJECT",
            workspace::objects().join("harden.bpf.o"),
        )
        .env("HARDEN_SHH", setup::shh())
        .arg(&figures);
    if args.quick {
        bench.arg("--quick");
    }
    process::run(&mut bench)?;

    let text = fs::read_to_string(&figures).with_context(|| figures.display().to_string())?;
    println!("{text}");
    if !args.quick {
        let quote = Quote::of(&text).context("the figures have no summary")?;
        page::update(PAGE, "performance", &text)?;
        page::update("README.md", "cost-in-short", &quote.sentence)?;
        page::update("README.md", "cost", &quote.block)?;
    }
    Ok(())
}

/// What the README says of the figures.
#[derive(Debug, PartialEq)]
struct Quote {
    sentence: String,
    block: String,
}

impl Quote {
    /// Of the section `In short`: a paragraph and a block.
    fn of(figures: &str) -> Option<Self> {
        let (_, section) = figures.split_once("## In short\n\n")?;
        let (sentence, rest) = section.split_once("\n\n")?;
        let (block, _) = rest.strip_prefix("```\n")?.split_once("\n```")?;
        Some(Self {
            sentence: format!("{sentence}\n"),
            block: format!("```\n{block}\n```\n"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quote_is_the_first_paragraph_and_block() {
        let text =
            "x\n\n## In short\n\nIt adds 1 µs.\n\n```\na 1\nb 2\n```\n\n## More\n\n```\nc\n```\n";
        let quote = Quote::of(text).expect("a summary");
        assert_eq!(quote.sentence, "It adds 1 µs.\n");
        assert_eq!(quote.block, "```\na 1\nb 2\n```\n");
        assert_eq!(Quote::of("## In short\n\nIt adds 1 µs.\n"), None);
    }

    #[test]
    fn the_readme_quotes_the_page() -> Result<()> {
        let figures = page::read(PAGE, "performance")?;
        let quote = Quote::of(&figures).context("the page has no summary")?;
        let sentence = page::read("README.md", "cost-in-short")?;
        assert_eq!(sentence.trim(), quote.sentence.trim());
        assert_eq!(page::read("README.md", "cost")?.trim(), quote.block.trim());
        Ok(())
    }

    /// Nothing is said by hand that a later run would make wrong.
    #[test]
    fn the_readme_has_no_other_figure() -> Result<()> {
        let readme = fs::read_to_string(workspace::root().join("README.md"))?;
        let quoted = ["cost-in-short", "cost"]
            .map(|name| page::read("README.md", name))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let rest = quoted
            .iter()
            .fold(readme, |text, quote| text.replace(quote, ""));
        for unit in [" µs", " ns", " ms"] {
            assert!(!rest.contains(unit), "README.md has a figure in{unit}");
        }
        Ok(())
    }
}
