//! Access control lists of files, as the file system has them.

use std::{fs::File, os::fd::AsRawFd as _};

use crate::observation::Acl;

/// The extended attribute with the list that access is checked by.
const NAME: &str = "system.posix_acl_access";
/// `include/uapi/linux/posix_acl_xattr.h`: a version, then entries of a tag, permissions and a number.
const VERSION: u32 = 2;
/// `include/uapi/linux/limits.h`: no attribute is longer.
const XATTR_SIZE_MAX: usize = 65536;
const ENTRY: usize = 8;
/// `include/uapi/linux/posix_acl.h`
mod tag {
    pub(super) const USER: u16 = 0x02;
    pub(super) const GROUP_OBJ: u16 = 0x04;
    pub(super) const GROUP: u16 = 0x08;
}

/// The list of `file`, which may be open for its path alone. `None` if it has none beyond its mode, or cannot have one.
///
/// Read from the attribute: libacl, which crates for this link to, would have to be there wherever harden is.
pub(super) fn of(file: &File) -> Option<Acl> {
    // fgetxattr(2) refuses a descriptor that was opened with O_PATH; its name in /proc leads to the file itself.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut bytes = vec![0; XATTR_SIZE_MAX];
    let length = rustix::fs::getxattr(path, NAME, &mut bytes[..]).ok()?;
    parse(bytes.get(..length)?)
}

fn parse(bytes: &[u8]) -> Option<Acl> {
    let (version, entries) = bytes.split_first_chunk()?;
    if u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let mut acl = Acl::default();
    for entry in entries.chunks_exact(ENTRY) {
        let [t0, t1, p0, p1, n0, n1, n2, n3] = *entry.first_chunk()?;
        let permissions = u32::from(u16::from_le_bytes([p0, p1])) & 7;
        let number = u32::from_le_bytes([n0, n1, n2, n3]);
        match u16::from_le_bytes([t0, t1]) {
            tag::USER => drop(acl.users.insert(number, permissions)),
            tag::GROUP_OBJ => acl.group = permissions,
            tag::GROUP => drop(acl.groups.insert(number, permissions)),
            // The owner's, the mask and everybody else's are in the mode.
            _ => {}
        }
    }
    // One with no more than a mode says is none.
    let is_named = !acl.users.is_empty() || !acl.groups.is_empty();
    is_named.then_some(acl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: u16, permissions: u16, number: u32) -> Vec<u8> {
        let tag = [tag.to_le_bytes(), permissions.to_le_bytes()].concat();
        [tag, number.to_le_bytes().to_vec()].concat()
    }

    #[test]
    fn named_users_and_groups_are_read_and_nothing_panics() {
        let version = VERSION.to_le_bytes().to_vec();
        let bytes = [
            version,
            entry(1, 6, u32::MAX),
            entry(tag::USER, 4, 105),
            entry(tag::GROUP_OBJ, 0, u32::MAX),
            entry(tag::GROUP, 6, 42),
            entry(0x10, 6, u32::MAX),
            entry(0x20, 0, u32::MAX),
        ]
        .concat();
        let expected = Acl {
            group: 0,
            users: [(105, 4)].into(),
            groups: [(42, 6)].into(),
        };
        assert_eq!(parse(&bytes), Some(expected));
        for length in 0..bytes.len() {
            let _ = parse(&bytes[..length]);
        }
        assert_eq!(parse(&[1; 20]), None);
        let plain = [VERSION.to_le_bytes().to_vec(), entry(tag::GROUP_OBJ, 7, 0)].concat();
        assert_eq!(parse(&plain), None);
    }
}
