//! The values of single options: what is allowed, and what is said about the rest.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use glob::Pattern;
use harden_common::SLOTS_MAX;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use super::Listen;
use crate::probe::Forced;

/// `sun_path` of unix(7), without the zero that ends it.
const SOCKET_PATH: usize = 107;
/// More entries than this are no size that is meant: they take gigabytes.
const ENTRIES: u32 = 1 << 24;
/// A page, the least that the kernel takes for a ring buffer.
const RING_MIN: u32 = 4096;
/// The kernel takes larger ones; they take as much memory.
const RING_MAX: u32 = 1 << 30;
/// A unit with less has no room for the calls of one program.
const UNIT_MIN: u64 = 256 << 10;
/// Larger ones are not read: see [`crate::agent::store::UNIT_LIMIT`].
const UNIT_MAX: u64 = crate::agent::store::UNIT_LIMIT;
/// 16 TiB, which no number that is meant reaches.
const ALL_MAX: u64 = 16 << 40;
/// More are not listed in a time that anybody waits.
const UNITS_MAX: u32 = 100_000;
/// Each has a descriptor, of which a process has 1,024 unless more are asked for.
const CONNECTIONS: u32 = 512;
/// A new run waits until the kernel's programs have left the old one, and costs every task a look-up.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) fn patterns<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Pattern>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let pattern = |text: &String| {
        Pattern::new(text).map_err(|error| {
            D::Error::custom(format_args!(
                "`{text}` is no pattern of names: {}; `*`, `?` and `[…]` are as in the shell",
                error.msg
            ))
        })
    };
    texts.iter().map(pattern).collect()
}

pub(super) fn tiers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Forced>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let tier = |text: &String| {
        text.parse()
            .map_err(|error| D::Error::custom(format_args!("`{text}`: {error}")))
    };
    texts.iter().map(tier).collect()
}

pub(super) fn absolute<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if path.is_absolute() {
        return Ok(path);
    }
    let expected = "a path that begins with `/`";
    let found = path.to_string_lossy();
    Err(D::Error::invalid_value(Unexpected::Str(&found), &expected))
}

pub(super) fn absolute_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    if path.is_absolute() {
        return Ok(Some(path));
    }
    let expected = "a path that begins with `/`, or \"\" for none";
    let found = path.to_string_lossy();
    Err(D::Error::invalid_value(Unexpected::Str(&found), &expected))
}

pub(super) fn socket<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = absolute(from)?;
    fits_a_socket(&path).map_err(D::Error::custom)?;
    Ok(path)
}

fn fits_a_socket(path: &Path) -> Result<(), String> {
    let length = path.as_os_str().len();
    if length <= SOCKET_PATH {
        return Ok(());
    }
    Err(format!(
        "a socket's path has at most {SOCKET_PATH} bytes, and this one {length}"
    ))
}

pub(super) fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Listen>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with('/') {
        let path = PathBuf::from(text);
        fits_a_socket(&path).map_err(D::Error::custom)?;
        return Ok(Some(Listen::Unix(path)));
    }
    let address: Option<SocketAddr> = text.parse().ok();
    match address.filter(|address| address.ip().is_loopback() && address.port() != 0) {
        Some(address) => Ok(Some(Listen::Tcp(address))),
        None => Err(D::Error::invalid_value(
            Unexpected::Str(&text),
            &"the path of a unix socket, 127.0.0.1:PORT, [::1]:PORT, or \"\" for none; what the agent \
              knows is not for other machines",
        )),
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let expected = "a time of a second or more, such as \"30s\", \"5m\", \"1h 30m\"";
    from.deserialize_str(Text)
        .and_then(|text| parse_duration(&text, &expected))
}

pub(super) fn duration_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    let expected =
        "a time of a second or more, such as \"30s\", \"5m\", \"1h 30m\", or \"0\" for none";
    let text = from.deserialize_str(Text)?;
    if text.trim() == "0" {
        return Ok(None);
    }
    parse_duration(&text, &expected).map(Some)
}

fn parse_duration<E: Error>(text: &str, expected: &&str) -> Result<Duration, E> {
    humantime::parse_duration(text)
        .ok()
        .filter(|time| *time >= SHORTEST)
        .ok_or_else(|| E::invalid_value(Unexpected::Str(text), expected))
}

/// A text, where a bare number is likely to be written: it is told what to write instead.
struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in quotation marks, such as \"30s\", \"5m\", \"1h 30m\"")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

pub(super) fn at_least_one<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    number(from, 1, u32::MAX)
}

pub(super) fn unit_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    number(from, UNIT_MIN, UNIT_MAX)
}

pub(super) fn all_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    number(from, UNIT_MIN, ALL_MAX)
}

pub(super) fn units<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    number(from, 10, UNITS_MAX)
}

pub(super) fn entries<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    number(from, 1, ENTRIES)
}

pub(super) fn slots<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    number(from, 1, SLOTS_MAX)
}

pub(super) fn connections<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    number(from, 1, CONNECTIONS)
}

pub(super) fn ring<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let bytes = number(from, RING_MIN, RING_MAX)?;
    if bytes.is_power_of_two() {
        return Ok(bytes);
    }
    Err(D::Error::custom(format_args!(
        "the ring buffer's size is a power of two, such as {}, and {bytes} is none",
        bytes.next_power_of_two()
    )))
}

fn number<'de, D: Deserializer<'de>, N>(from: D, least: N, most: N) -> Result<N, D::Error>
where
    N: TryFrom<i64> + PartialOrd + Copy + fmt::Display,
{
    let given = i64::deserialize(from)?;
    N::try_from(given)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            let expected = format!("a number from {least} to {most}");
            D::Error::invalid_value(Unexpected::Signed(given), &expected.as_str())
        })
}
