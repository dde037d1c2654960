//! Directories for the small programs to work in.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::Result;

/// The tree that `acts.c` works on.
///
/// # Errors
/// It cannot be made.
pub fn for_acts(directory: &Path) -> Result<()> {
    fs::create_dir(directory.join("dir"))?;
    for file in [
        "a",
        "dir/chained",
        "dir/fstatat",
        "dir/inner",
        "dir/linked",
        "dir/relative",
        "dir/through",
        "hour",
        "how",
        "listed",
        "located",
        "lstat",
        "removed",
        "sibling",
        "stat",
        "statx",
    ] {
        fs::write(directory.join(file), "")?;
    }
    for (link, target) in [
        ("chain", "chained"),
        ("chained", "dir/chained"),
        ("dangling", "nowhere"),
        ("dirlink", "dir"),
        ("link", "dir/linked"),
        ("loop", "loop"),
    ] {
        symlink(target, directory.join(link))?;
    }
    Ok(())
}

/// The tree that `ways.c` works on.
///
/// # Errors
/// It cannot be made.
pub fn for_ways(directory: &Path) -> Result<()> {
    for name in ["dir", "moving"] {
        fs::create_dir(directory.join(name))?;
    }
    for file in [
        "before",
        "dir/beneath",
        "dir/inner",
        "dir/rooted",
        "dir/target",
        "first",
        "handled",
        "located",
        "moving/file",
        "opened",
        "outside",
        "plain",
        "third",
    ] {
        fs::write(directory.join(file), "")?;
    }
    symlink("plain", directory.join("link"))?;
    // Where the directory is the root, this leads to its own file.
    symlink("/target", directory.join("dir/absolute"))?;
    Ok(())
}
