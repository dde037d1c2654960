//! How much work a suite does.

use std::env;

use anyhow::{Context as _, Result};

/// `number`, or the fraction of it that `HARDEN_TEST_SCALE` says, for machines that are slow.
///
/// # Errors
/// The variable is no number.
pub fn scaled(number: u32) -> Result<u32> {
    let scale: f64 = match env::var("HARDEN_TEST_SCALE") {
        Ok(scale) => scale.parse().context("HARDEN_TEST_SCALE")?,
        Err(_) => 1.0,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok((f64::from(number) * scale) as u32)
}
