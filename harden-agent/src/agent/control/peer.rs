//! Who is at the other end: the kernel says, as of connect(2).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use tokio::net::UnixStream;

/// What a peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything.
    Root,
    /// Read.
    Member,
}

/// The role of the peer of `stream`, if it has one. The mode of the socket keeps the others out
/// already; this holds even where somebody changed it.
///
/// Not by zlink's own question for the credentials: it wants the peer's process too, and fails where that is in
/// another PID namespace, as everybody is for an agent in a sandbox.
pub(super) fn role(stream: &UnixStream, group: u32) -> io::Result<Option<Role>> {
    let peer = stream.peer_cred()?;
    let mut groups = groups(stream.as_fd())?;
    groups.push(peer.gid());
    let user = peer.uid();
    Ok(decide(&Who { user, groups }, group))
}

struct Who {
    user: u32,
    groups: Vec<u32>,
}

/// The supplementary groups of the peer (`SO_PEERGROUPS`).
fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let size = groups.len() * size_of::<libc::gid_t>();
        let mut length = libc::socklen_t::try_from(size).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `length` bytes, which is what `groups` has.
        let status = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        // It says how long the list is, also where it does not fit.
        let count = length as usize / size_of::<libc::gid_t>();
        if status == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

fn decide(who: &Who, group: u32) -> Option<Role> {
    if who.user == 0 {
        Some(Role::Root)
    } else if who.groups.contains(&group) {
        Some(Role::Member)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_may_all_the_group_may_read_and_others_nothing() {
        let who = |user, groups: &[u32]| Who {
            user,
            groups: groups.to_vec(),
        };
        assert_eq!(decide(&who(0, &[0]), 7), Some(Role::Root));
        assert_eq!(decide(&who(5, &[7]), 7), Some(Role::Member));
        assert_eq!(decide(&who(5, &[5, 6, 7]), 7), Some(Role::Member));
        assert_eq!(decide(&who(5, &[5, 6]), 7), None);
        assert_eq!(decide(&who(5, &[]), 7), None);
    }

    #[tokio::test]
    async fn the_kernel_says_who_it_is() {
        let (one, _other) = UnixStream::pair().unwrap();
        let user = rustix::process::geteuid();
        let group = rustix::process::getegid().as_raw();
        let expected = if user.is_root() {
            Role::Root
        } else {
            Role::Member
        };
        assert_eq!(role(&one, group).unwrap(), Some(expected));
    }
}
