//! A cgroup's path → the systemd unit that it belongs to, by the path alone: the cgroup may be gone.
//!
//! The rules are those of systemd's `cg_path_get_unit` (src/basic/cgroup-util.c), applied again wherever
//! another manager begins further down: a user's, or a systemd in a container.

mod name;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use crate::observation::Text;

pub use self::name::OF_ALL;

/// A unit of one of the systemd managers of this machine.
///
/// As text it is `foo.service` for the system's own manager, and `ROOT:foo.service` for another one,
/// where ROOT is the cgroup path of that manager: `/machine.slice/systemd-nspawn@deb.service/payload`
/// of a container, `/user.slice/user-1000.slice/user@1000.service` of a user. In ROOT every byte
/// but the visible ASCII characters, and `%` and `:`, is written as `%3A`, as in a URL; a unit's name
/// stands as systemd has it, `\x2d` and all. A text that begins with `/` has a ROOT, which ends at the
/// first `:`, so no two units have the same text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    manager: Text,
    // A valid unit name, or what `key` makes of one: visible ASCII either way.
    name: String,
}

/// Where a unit is in the cgroup tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Which unit.
    pub unit: Unit,
    /// The unit's own cgroup: the path that was given, or the beginning of it.
    pub directory: &'a [u8],
}

/// The unit that the cgroup at `path` belongs to. `None` for the root, for slices, and for what no
/// systemd has made.
///
/// `path` is the cgroup's in the version 2 tree, from the root of the machine.
#[must_use]
pub fn unit(path: &[u8]) -> Option<Unit> {
    place(path).map(|place| place.unit)
}

/// As [`unit()`], and where in `path` that unit's own cgroup ends.
#[must_use]
pub fn place(path: &[u8]) -> Option<Place<'_>> {
    let parts = parts(path)?;
    let (root, own) = innermost(&parts)?;
    let end = |part: &Part<'_>| part.start + part.name.len();
    let manager = match root.checked_sub(1) {
        Some(last) => Text::from(&path[..end(&parts[last])]),
        None => Text::default(),
    };
    let name = name::valid(parts[own].name)?.to_owned();
    Some(Place {
        unit: Unit { manager, name },
        directory: &path[..end(&parts[own])],
    })
}

/// One directory of a path.
struct Part<'a> {
    name: &'a [u8],
    start: usize,
}

/// `None` if there is `..`, which is how `/proc/PID/cgroup` begins the path of what lies outside the
/// reader's cgroup namespace: what comes after it is no path from the root.
fn parts(path: &[u8]) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for name in path.split(|&byte| byte == b'/') {
        if name == b".." || name == b"." {
            return None;
        }
        if !name.is_empty() {
            parts.push(Part { name, start });
        }
        start += name.len() + 1;
    }
    Some(parts)
}

/// The unit that is furthest down: how many parts lead to its manager, and which part it is itself.
///
/// Each round begins behind the last one's end, so it takes as long as the path.
fn innermost(parts: &[Part<'_>]) -> Option<(usize, usize)> {
    let mut found = None;
    let mut root = 0;
    loop {
        let slices = parts[root..].iter().take_while(|part| is_slice(part.name));
        let own = root + slices.count();
        let Some(name) = parts.get(own).map(|part| name::valid(part.name)) else {
            return found;
        };
        let mut below = own;
        match name {
            Some("init.scope") => {
                // The program that user@UID.service runs is the manager: its facts are that unit's.
                let user = |&(_, outer): &(usize, usize)| {
                    outer + 1 == root && name::valid(parts[outer].name).is_some_and(name::is_user)
                };
                return found.filter(user).or(Some((root, own)));
            }
            Some(name) => {
                found = Some((root, own));
                below += 1;
                if name::is_user(name) {
                    root = below;
                    continue;
                }
            }
            None => {}
        }
        // What lies deeper belongs to the unit (`.control`, what it was delegated), up to where another
        // manager begins.
        match (below..parts.len()).find(|&part| begins_manager(parts, part)) {
            Some(part) => root = part,
            None => return found,
        }
    }
}

/// Whether the directory that holds this part is the root of a manager. Only systemd makes directories of
/// such names: a slice of the first level has no `-` in it, every other slice lies in one of those.
fn begins_manager(parts: &[Part<'_>], part: usize) -> bool {
    let name = parts[part].name;
    let first_level = || {
        let stem = name.strip_suffix(b".slice");
        is_slice(name) && stem.is_some_and(|stem| !stem.contains(&b'-'))
    };
    // systemd-nspawn's; mount units may lie in it without a slice.
    let in_payload = || part > 0 && parts[part - 1].name == b"payload";
    name == b"init.scope" || first_level() || (in_payload() && name::valid(name).is_some())
}

fn is_slice(part: &[u8]) -> bool {
    part.ends_with(b".slice") && name::is_slice(part)
}

impl Unit {
    /// A unit of the system's own manager. `None` if that is no name of a unit that has a cgroup.
    #[must_use]
    pub fn of_system(name: &str) -> Option<Self> {
        name::is_valid(name).then(|| Self {
            manager: Text::default(),
            name: name.to_owned(),
        })
    }

    /// The cgroup path of the manager that started it; empty for the system's own.
    #[must_use]
    pub fn manager(&self) -> &Text {
        &self.manager
    }

    /// The name that its manager knows it by: visible ASCII.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the system's own manager started it, which is the one that can be asked about it.
    #[must_use]
    pub fn is_of_system(&self) -> bool {
        self.manager.as_bytes().is_empty()
    }

    /// Whether it is a systemd itself and no service: `init.scope`, the system's or a container's.
    #[must_use]
    pub fn is_manager(&self) -> bool {
        self.name == "init.scope"
    }

    /// What it is one of, where only a number that the machine gave it tells it from the others: `ssh@.service` for each
    /// connection, `session-.scope` for each login. Its facts are kept under that, once it has ended.
    #[must_use]
    pub fn kind(&self) -> Option<Self> {
        Some(Self {
            manager: self.manager.clone(),
            name: name::kind(&self.name)?,
        })
    }

    /// The template that it is an instance of, and what the texts of all its instances begin with.
    #[must_use]
    pub fn template(&self) -> Option<(Self, String)> {
        let (name, start) = name::template(&self.name)?;
        let named = |name: &str| Self {
            manager: self.manager.clone(),
            name: name.to_owned(),
        };
        Some((named(&name), named(start).to_string()))
    }

    /// Whether `systemd-run` or a container runtime made its name up: no other run will have the same.
    #[must_use]
    pub fn is_transient_random(&self) -> bool {
        name::is_made_up(&self.name)
    }

    /// Whether it is no unit, but what the facts of many are kept under: see [`Self::kind`], [`Self::template`] and
    /// [`Self::key`].
    #[must_use]
    pub fn is_kind(&self) -> bool {
        self.name.starts_with(name::MADE_UP)
            || name::is_template(&self.name)
            || self.name == name::SESSIONS
            || self.name == OF_ALL
    }

    /// What the units of its manager are kept under where there is no room for each.
    #[must_use]
    pub fn of_all(&self) -> Self {
        Self {
            manager: self.manager.clone(),
            name: OF_ALL.to_owned(),
        }
    }

    /// What its facts are kept under, in one run after the other: itself, or, where the name was made
    /// up, `run:EXECUTABLE` of the same manager, for the first program that it ran. That is no unit's
    /// name: it holds a `/`.
    #[must_use]
    pub fn key(&self, executable: &Text) -> Self {
        let name = if self.is_transient_random() {
            format!("{}{}", name::MADE_UP, name::escape(executable.as_bytes()))
        } else {
            self.name.clone()
        };
        let manager = self.manager.clone();
        Self { manager, name }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_of_system() {
            write!(out, "{}:", name::escape(self.manager.as_bytes()))?;
        }
        out.write_str(&self.name)
    }
}

/// The text is no [`Unit`].
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no unit: `foo.service` is, and so is `/path/of/its/manager:foo.service` for a manager other than the system's"
)]
pub struct NotAUnit(String);

impl FromStr for Unit {
    type Err = NotAUnit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (manager, name) = match text.strip_prefix('/') {
                Some(_) => text.split_once(':')?,
                None => ("", text),
            };
            let made_up = name.strip_prefix(name::MADE_UP);
            let fits = match made_up {
                Some(executable) => name::unescape(executable).is_some(),
                None => name::is_valid(name) || name::is_template(name) || name == OF_ALL,
            };
            fits.then_some(Self {
                manager: Text::from(name::unescape(manager)?),
                name: name.to_owned(),
            })
        };
        parse().ok_or_else(|| NotAUnit(text.to_owned()))
    }
}
