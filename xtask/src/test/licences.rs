//! The licences of all crates that harden is built from, by the list in `deny.toml`.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use spdx::{Expression, LicenseReq, ParseMode};

use crate::{process, workspace};

/// `deny.toml`, as far as it is about licences.
#[derive(Deserialize)]
struct Deny {
    licenses: Licences,
    graph: Graph,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

/// What `cargo metadata` prints, as far as it is about licences.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// Fails if a crate has a licence that `deny.toml` does not allow.
///
/// # Errors
/// It names the crates; or cargo cannot be asked.
pub fn check() -> Result<()> {
    let deny = fs::read_to_string(workspace::root().join("deny.toml")).context("deny.toml")?;
    let deny: Deny = toml::from_str(&deny).context("deny.toml")?;
    for directory in [workspace::root(), &workspace::ebpf()] {
        let mut cargo = process::cargo();
        cargo
            .current_dir(directory)
            .args(["metadata", "--locked", "--format-version", "1"]);
        for target in &deny.graph.targets {
            cargo.args(["--filter-platform", target]);
        }
        let metadata: Metadata = serde_json::from_str(&process::output(&mut cargo)?)?;
        let refused: Vec<String> = metadata
            .packages
            .iter()
            .filter(|package| !package.is_allowed(&deny.licenses.allow))
            .map(|package| {
                format!(
                    "{} {}: {:?}",
                    package.name, package.version, package.license
                )
            })
            .collect();
        ensure!(
            refused.is_empty(),
            "crates with a licence that deny.toml does not allow:\n  {}",
            refused.join("\n  ")
        );
    }
    Ok(())
}

impl Package {
    fn is_allowed(&self, allowed: &[String]) -> bool {
        let Some(licence) = &self.license else {
            return false;
        };
        // Older crates write MIT/Apache-2.0.
        let Ok(expression) = Expression::parse_mode(licence, ParseMode::LAX) else {
            return false;
        };
        expression.evaluate(|needed: &LicenseReq| {
            let id = needed.license.id();
            needed.addition.is_none()
                && id.is_some_and(|id| allowed.iter().any(|name| name == id.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_allowed_if_its_expression_holds() {
        let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned()];
        let is_allowed = |licence: &str| {
            let package = Package {
                name: "a".to_owned(),
                version: "1".to_owned(),
                license: Some(licence.to_owned()),
            };
            package.is_allowed(&allowed)
        };
        assert!(is_allowed("GPL-3.0-only OR MIT"));
        assert!(is_allowed("MIT/Apache-2.0"));
        assert!(!is_allowed("GPL-3.0-only AND MIT"));
        assert!(!is_allowed("no licence"));
    }
}
