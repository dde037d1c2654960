//! The digest of what the results of virtual machines depend on: the kernel programs, what they share with the agent,
//! and what loads them. `docs/kernels.md` carries the one of the last run in which all suites passed on all kernels.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::{page, workspace};

/// Directories and files, from the root of the checkout.
const SOURCES: &[&str] = &[
    "harden-agent/src/probe",
    "harden-common/Cargo.toml",
    "harden-common/src",
    "harden-ebpf/.cargo",
    "harden-ebpf/Cargo.lock",
    "harden-ebpf/Cargo.toml",
    "harden-ebpf/src",
];

const PAGE: &str = "docs/kernels.md";

/// Was the page made from these sources?
pub fn is_documented() -> Result<bool> {
    Ok(page::read(PAGE, "sources")?.trim() == text()?.trim())
}

/// Says in the page that all passed with the sources that this text is about. Is that new?
pub fn document(text: &str) -> Result<bool> {
    page::update(PAGE, "sources", text)
}

/// What the page says once all has passed with the sources as they are now.
pub fn text() -> Result<String> {
    Ok(format!(
        "All that `cargo xtask vm` runs passed with the sources whose digest is `{}`.\n",
        digest(workspace::root())?
    ))
}

/// Of the names and contents of all files, in order.
fn digest(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        let path = root.join(source);
        collect(&path, &mut files).with_context(|| path.display().to_string())?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file);
        let content = fs::read(&file)?;
        // With lengths, so that no name passes for content.
        let name = name.as_os_str().as_encoded_bytes();
        for part in [name, &content] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    let mut text = String::new();
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        // And not what an editor leaves beside them.
        let kind = path.extension().unwrap_or_default();
        if ["lock", "rs", "toml"].iter().any(|known| kind == *known) {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkout that has nothing but these sources.
    fn checkout(name: &str) -> Result<PathBuf> {
        let root = std::env::temp_dir().join(format!("xtask-digest-{name}-{}", std::process::id()));
        for source in SOURCES {
            let path = root.join(source);
            let file = if path.extension().is_some() {
                path
            } else {
                path.join("file.rs")
            };
            fs::create_dir_all(file.parent().context("a directory")?)?;
            fs::write(file, "content")?;
        }
        Ok(root)
    }

    #[test]
    fn it_changes_with_content_and_names_and_nothing_else() -> Result<()> {
        let root = checkout("changes")?;
        let first = digest(&root)?;
        fs::create_dir_all(root.join("docs"))?;
        fs::write(root.join("docs/page.md"), "text")?;
        fs::write(root.join("harden-ebpf/src/file.rs.orig"), "text")?;
        assert_eq!(digest(&root)?, first);
        fs::write(root.join("harden-ebpf/src/file.rs"), "other")?;
        let changed = digest(&root)?;
        assert_ne!(changed, first);
        fs::write(root.join("harden-ebpf/src/file.rs"), "content")?;
        assert_eq!(digest(&root)?, first);
        fs::rename(
            root.join("harden-ebpf/src/file.rs"),
            root.join("harden-ebpf/src/name.rs"),
        )?;
        assert_ne!(digest(&root)?, first);
        fs::remove_dir_all(&root)?;
        Ok(())
    }

    #[test]
    fn the_sources_are_those_of_the_checkout() -> Result<()> {
        assert_eq!(digest(workspace::root())?.len(), 64);
        // The page has a place for it, whatever stands there.
        is_documented().map(drop)
    }
}
