//! File capabilities of programs, as the file system has them.

use std::{fs::File, os::fd::AsRawFd as _};

use harden_common::CAPABILITIES;

use super::names::capability;
use crate::observation::FileCapabilities;

/// The extended attribute that holds them.
const NAME: &str = "security.capability";
/// `include/uapi/linux/capability.h`: `struct vfs_ns_cap_data`, the longest.
const LENGTH: usize = 24;
const REVISION_MASK: u32 = 0xff00_0000;
const EFFECTIVE: u32 = 1;

/// Those of `file`, which may be open for its path alone. `None` if it has none that count outside of user namespaces.
pub(super) fn of(file: &File) -> Option<FileCapabilities> {
    // As in `acl::of`: fgetxattr(2) refuses a descriptor that was opened with O_PATH.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut bytes = [0; LENGTH];
    let length = rustix::fs::getxattr(path, NAME, &mut bytes[..]).ok()?;
    parse(bytes.get(..length)?)
}

/// `get_vfs_caps_from_disk` in `security/commoncap.c`.
fn parse(bytes: &[u8]) -> Option<FileCapabilities> {
    let mut words = bytes
        .chunks_exact(4)
        .map_while(|word| Some(u32::from_le_bytes(*word.first_chunk()?)));
    let magic = words.next()?;
    let pairs = match (magic & REVISION_MASK, bytes.len()) {
        (0x0100_0000, 12) => 1,
        (0x0200_0000, 20) | (0x0300_0000, 24) => 2,
        _ => return None,
    };
    let (mut permitted, mut inheritable) = (0, 0);
    for shift in (0..pairs).map(|pair| pair * 32) {
        permitted |= u64::from(words.next()?) << shift;
        inheritable |= u64::from(words.next()?) << shift;
    }
    // Who is root of a user namespace: for others the file has none.
    if words.next().unwrap_or_default() != 0 {
        return None;
    }
    let named = |set: u64| {
        let numbers = (0..CAPABILITIES).filter(|number| set >> number & 1 != 0);
        numbers.map(capability).collect()
    };
    Some(FileCapabilities {
        permitted: named(permitted),
        inheritable: named(inheritable),
        effective: magic & EFFECTIVE != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Word;

    fn attribute(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn each_revision_is_read_and_nothing_panics() {
        let net_raw = FileCapabilities {
            permitted: [Word::new("net_raw").unwrap()].into(),
            effective: true,
            ..FileCapabilities::default()
        };
        for words in [
            &[0x0100_0001, 1 << 13, 0][..],
            &[0x0200_0001, 1 << 13, 0, 0, 0],
            &[0x0300_0001, 1 << 13, 0, 0, 0, 0],
        ] {
            assert_eq!(parse(&attribute(words)), Some(net_raw.clone()));
        }
        let bpf = parse(&attribute(&[0x0200_0000, 0, 0, 1 << 7, 1])).unwrap();
        let names = |set: &std::collections::BTreeSet<Word>| {
            set.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(&bpf.permitted), ["bpf"]);
        assert_eq!(names(&bpf.inheritable), ["mac_override"]);
        assert!(!bpf.effective);
        // Of a user namespace; of no revision; too short and too long.
        assert_eq!(parse(&attribute(&[0x0300_0001, 1, 0, 0, 0, 1000])), None);
        assert_eq!(parse(&attribute(&[0x0400_0001, 1, 0, 0, 0])), None);
        let full = attribute(&[u32::MAX; 6]);
        for length in 0..full.len() {
            let _ = parse(&full[..length]);
            assert_eq!(parse(&attribute(&[0x0300_0001; 7])[..length]), None);
        }
    }
}
