//! Programs that ran on another root than the rest of their unit: in a container that it starts, or after
//! `pivot_root`. Their calls and capabilities count, as filters and bounding sets are inherited. Their paths are not
//! the host's, and none of them is kept.

use harden_common::Argument;

use crate::observation::{Executable, Inodes, Text, Word};

/// What the name of such a program ends with. It is no path, and keeps the program apart from one of the same name on
/// the host.
const SUFFIX: &[u8] = b" (on another root)";

/// Whether the kernel side has said so of what these facts are of.
pub(super) fn is_other(facts: &Executable) -> bool {
    fact().is_some_and(|fact| facts.arguments.contains_key(&fact))
}

/// The name of the program at `path` there.
pub(super) fn name(path: &Text) -> Text {
    Text::from([path.as_bytes(), SUFFIX].concat())
}

/// Leaves what is true on any root.
pub(super) fn forget_paths(facts: &mut Executable) {
    facts.files.clear();
    facts.invoked_as.clear();
    facts.interpreters.clear();
    facts.file_capabilities.clear();
    facts.inodes = Inodes::default();
    facts.capability_objects.clear();
    for addresses in facts.addresses.values_mut() {
        addresses.retain(|address, _| !address.as_bytes().starts_with(b"unix /"));
    }
    facts.addresses.retain(|_, addresses| !addresses.is_empty());
    // It was said once, and these may be the facts of a later time.
    if let Some(fact) = fact() {
        facts.arguments.entry(fact).or_default();
    }
}

fn fact() -> Option<Word> {
    Word::new(Argument::OtherRoot.name()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::File;

    #[test]
    fn what_is_no_path_stays() {
        let mut facts = Executable::default();
        facts.files.insert("/newroot/dev".into(), File::default());
        let families = facts.families.len();
        facts.families.insert(
            Word::new("inet").unwrap(),
            crate::observation::Seen::default(),
        );
        forget_paths(&mut facts);
        assert!(facts.files.is_empty());
        assert_eq!(facts.families.len(), families + 1);
        assert!(is_other(&facts));
    }
}
