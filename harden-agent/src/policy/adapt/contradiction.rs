//! Overrides that allow what they deny: somebody may rely on either, so neither wins.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::overrides::Overrides;
use crate::{
    observation::{Text, Word},
    policy::paths::is_within,
};

/// A file of overrides allows what it denies.
#[derive(Debug, thiserror::Error)]
#[error("{}{what}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct Contradiction {
    line: Option<usize>,
    what: String,
}

/// An element that contradicts `[deny]`: its list, its number in it, and why.
struct Found {
    list: &'static str,
    at: usize,
    what: String,
}

/// Whether everything can be meant together.
///
/// A path below a denied directory may be allowed: that is an exception, and it says which. A directory that is allowed with
/// everything in it, or replaces it, has no exceptions.
///
/// # Errors
/// The first contradiction in `text`.
pub(super) fn check(overrides: &Overrides, text: &str) -> Result<(), Contradiction> {
    let (allow, deny) = (&overrides.allow, &overrides.deny);
    let found = words("syscalls", &allow.syscalls, &deny.syscalls)
        .or_else(|| words("capabilities", &allow.capabilities, &deny.capabilities))
        .or_else(|| words("families", &allow.families, &deny.families))
        .or_else(|| paths("read", &allow.read, &deny.paths))
        .or_else(|| paths("write", &allow.write, &deny.paths))
        .or_else(|| paths(GENERALISE, &overrides.generalise, &deny.paths));
    found.map_or(Ok(()), |found| {
        Err(Contradiction {
            line: line(text, &found),
            what: found.what,
        })
    })
}

/// The list that is no part of `[allow]`.
const GENERALISE: &str = "generalise";

fn words(list: &'static str, allowed: &[Word], denied: &[Word]) -> Option<Found> {
    let at = allowed.iter().position(|word| denied.contains(word))?;
    Some(Found {
        list,
        at,
        what: format!("{list}: {} is allowed and denied", allowed[at]),
    })
}

fn paths(list: &'static str, allowed: &[Text], denied: &[Text]) -> Option<Found> {
    allowed.iter().enumerate().find_map(|(at, path)| {
        let below = |denied: &&Text| is_within(denied.as_bytes(), path.as_bytes());
        let denied = denied.iter().find(below)?;
        let what = if path == denied {
            format!("{list}: {path} is allowed and denied")
        } else {
            format!("{list}: {path} has {denied} in it, which is denied")
        };
        Some(Found { list, at, what })
    })
}

/// The lists, with the place of each element.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Places {
    allow: BTreeMap<String, Vec<Spanned<String>>>,
    generalise: Vec<Spanned<String>>,
}

/// On which line the element stands.
fn line(text: &str, found: &Found) -> Option<usize> {
    let places: Places = toml::from_str(text).ok()?;
    let list = match found.list {
        GENERALISE => &places.generalise,
        list => places.allow.get(list)?,
    };
    let start = list.get(found.at)?.span().start;
    Some(text.get(..start)?.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_and_denied_is_refused_with_its_line() {
        for (text, expected) in [
            (
                "[allow]\nsyscalls = [\n  \"read\",\n  # why\n  \"chroot\",\n]\n[deny]\nsyscalls = ['chroot']\n",
                "line 5: syscalls: chroot is allowed and denied",
            ),
            (
                "deny.capabilities = ['chown']\nallow.capabilities = ['kill', 'chown']\n",
                "line 2: capabilities: chown is allowed and denied",
            ),
            (
                "[deny]\nfamilies = ['unix']\n[allow]\nfamilies = ['unix']\n",
                "line 4: families: unix is allowed and denied",
            ),
            (
                "[allow]\nread = ['/srv']\n[deny]\npaths = ['/srv']\n",
                "line 2: read: /srv is allowed and denied",
            ),
            (
                "[allow]\nwrite = ['/srv']\n[deny]\npaths = ['/srv/secret']\n",
                "line 2: write: /srv has /srv/secret in it, which is denied",
            ),
            (
                "generalise = ['/var/lib/d']\n[deny]\npaths = ['/var/lib/d/keys']\n",
                "line 1: generalise: /var/lib/d has /var/lib/d/keys in it, which is denied",
            ),
        ] {
            let error = Overrides::parse(text).unwrap_err().to_string();
            assert_eq!(error, expected, "{text}");
        }
    }

    #[test]
    fn an_exception_to_what_is_denied_can_be_meant() {
        for text in [
            "[allow]\nread = ['/home/d/data']\n[deny]\npaths = ['/home']\n",
            "[allow]\nread = ['/srv/a']\nsyscalls = ['read']\n[deny]\npaths = ['/srv/ab']\nsyscalls = ['write']\n",
        ] {
            Overrides::parse(text).unwrap();
        }
    }
}
