//! Who is at the other end: the kernel says, as of connect(2).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use tokio::net::UnixStream;
use zlink::connection::{
    Credentials,
    socket::{FetchPeerCredentials, UnixSocket},
};

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
pub(super) async fn role(stream: &UnixStream, group: u32) -> io::Result<Option<Role>> {
    let credentials = Peer(stream).fetch_peer_credentials().await?;
    Ok(decide(&Who::from(&credentials), group))
}

struct Who {
    user: u32,
    groups: Vec<u32>,
}

impl From<&Credentials> for Who {
    fn from(credentials: &Credentials) -> Self {
        let own = credentials.unix_primary_group_id();
        let others = credentials.unix_supplementary_group_ids();
        Self {
            user: credentials.unix_user_id().as_raw(),
            groups: std::iter::once(&own)
                .chain(others)
                .map(|group| group.as_raw())
                .collect(),
        }
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

struct Peer<'a>(&'a UnixStream);

impl AsFd for Peer<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl UnixSocket for Peer<'_> {}

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
        assert_eq!(role(&one, group).await.unwrap(), Some(expected));
    }
}
