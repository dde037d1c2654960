//! Names of units, and of the directories that systemd makes for them.

use std::fmt::Write as _;

/// The types of units that have a cgroup, besides slices (systemd, src/core/unit.h: `cgroup_context_offset`).
const TYPES: [&str; 5] = ["service", "scope", "socket", "mount", "swap"];

/// What the key of a unit with a made-up name begins with.
pub(super) const MADE_UP: &str = "run:";

/// What login sessions are kept under.
pub(super) const SESSIONS: &str = "session-.scope";

/// What units of a manager are kept under where there is no room for each. No unit is called so: a slice is none here.
pub const OF_ALL: &str = "others.slice";

/// What names the scopes of containers: Docker, Podman, CRI-O, containerd.
const CONTAINERS: [&str; 4] = ["docker-", "libpod-", "crio-", "cri-containerd-"];

/// `UNIT_NAME_MAX` of systemd, without the NUL.
const LONGEST: usize = 255;

/// The unit that a directory is made for, if it is one of a unit with a cgroup and no slice.
pub(super) fn valid(directory: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(unescape_directory(directory)).ok()?;
    is_valid(name).then_some(name)
}

/// Is that the directory of a slice?
pub(super) fn is_slice(directory: &[u8]) -> bool {
    let name = std::str::from_utf8(unescape_directory(directory));
    name.is_ok_and(|name| has_valid_stem(name, &["slice"]))
}

/// Is that the name of a unit with a cgroup and no slice?
pub(super) fn is_valid(name: &str) -> bool {
    has_valid_stem(name, &TYPES)
}

/// As systemd's `cg_unescape`: `_` comes before names that begin with `_` or `.`, and before those that could
/// be a file of the kernel's (`cgroup.service`, `cpu.service`). A name's own first `_` always has another.
fn unescape_directory(directory: &[u8]) -> &[u8] {
    directory.strip_prefix(b"_").unwrap_or(directory)
}

/// As systemd's `unit_name_is_valid`: plain or an instance, no template.
fn has_valid_stem(name: &str, types: &[&str]) -> bool {
    let Some((stem, ending)) = name.rsplit_once('.') else {
        return false;
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    name.len() <= LONGEST
        && types.contains(&ending)
        && !stem.is_empty()
        && stem.bytes().all(allowed)
        && stem
            .split_once('@')
            .is_none_or(|(template, instance)| !template.is_empty() && !instance.is_empty())
}

/// `user@UID.service`, which is a manager with units of its own.
pub(super) fn is_user(name: &str) -> bool {
    let uid = name
        .strip_prefix("user@")
        .and_then(|rest| rest.strip_suffix(".service"));
    uid.is_some_and(is_number)
}

/// Is that the name of a template: what the instances of [`kind`] are kept under?
pub(super) fn is_template(name: &str) -> bool {
    let Some((stem, ending)) = name.rsplit_once("@.") else {
        return false;
    };
    is_valid(&format!("{stem}@0.{ending}"))
}

/// The template that an instance is of, and what the names of all its instances begin with.
pub(super) fn template(name: &str) -> Option<(String, &str)> {
    let (stem, ending) = name.rsplit_once('.')?;
    let at = stem.find('@')?;
    let start = &stem[..=at];
    (stem.len() > start.len()).then(|| (format!("{start}.{ending}"), start))
}

/// What a unit is one of, where a number that the machine gave it is all that tells it from the others: a connection
/// of a socket with `Accept=yes`, which a core dump is as well, its template (`instance_from_socket` in
/// src/core/socket.c); a login session, `session-.scope`.
pub(super) fn kind(name: &str) -> Option<String> {
    if let Some(session) = name
        .strip_prefix("session-")
        .and_then(|rest| rest.strip_suffix(".scope"))
    {
        // `c1` where the audit session has no number (src/login/logind-dbus.c).
        let number = session.strip_prefix('c').unwrap_or(session);
        return is_number(number).then(|| SESSIONS.to_owned());
    }
    let (stem, ending) = name.rsplit_once('.')?;
    let (template, instance) = stem.split_once('@')?;
    let (number, peer) = instance.split_once('-')?;
    // `N-LOCAL:PORT-REMOTE:PORT`; `N-PID-UID` of a unix socket, with more behind it since 254.
    let is_network = peer.contains(':') && peer.contains('-');
    let mut parts = peer.split('-');
    let is_process = [parts.next(), parts.next()]
        .into_iter()
        .all(|part| part.is_some_and(is_number));
    (is_number(number) && (is_network || is_process)).then(|| format!("{template}@.{ending}"))
}

/// As `systemd-run` (src/run/run.c) names what has no name: `run-r` and 128 random bits where it spoke to
/// systemd directly, `run-u` and the number of its connection where it spoke through the bus, and since 257
/// `run-p` and `-i` with the number and the inode of its process.
pub(super) fn is_made_up(name: &str) -> bool {
    let Some(stem) = name
        .strip_suffix(".service")
        .or_else(|| name.strip_suffix(".scope"))
    else {
        return false;
    };
    let random = |rest: &str| {
        rest.len() == 32
            && rest
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let process = |rest: &str| {
        rest.split_once("-i")
            .is_some_and(|(process, inode)| is_number(process) && is_number(inode))
    };
    // A container's scope, whatever manages it: 256 random bits.
    let container = |prefix: &&str| {
        stem.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() == 64 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    CONTAINERS.iter().any(container)
        || stem.strip_prefix("run-r").is_some_and(random)
        || stem.strip_prefix("run-u").is_some_and(is_number)
        || stem.strip_prefix("run-p").is_some_and(process)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `%3A` for every byte but visible ASCII, and for `%` and `:`.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'%' && byte != b':' {
            text.push(byte.into());
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// What was escaped. `None` if [`escape`] would have written it in another way.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.split_at_checked(2)?;
        let value = std::str::from_utf8(digits.0).ok()?;
        bytes.push(u8::from_str_radix(value, 16).ok()?);
        rest = digits.1;
    }
    (escape(&bytes) == text).then_some(bytes)
}
