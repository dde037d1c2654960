//! Shells, by the names of their files.

use crate::observation::Text;

const NAMES: [&str; 8] = ["ash", "bash", "busybox", "dash", "fish", "ksh", "sh", "zsh"];

/// Whether the program at `path` is one.
pub(super) fn is_shell(path: &Text) -> bool {
    let name = path.as_path().file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| NAMES.contains(&name))
}
