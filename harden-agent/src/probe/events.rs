//! The ring buffer, awaited.

use std::io;

use aya::maps::{MapData, RingBuf};
use harden_common::Header;
use tokio::io::unix::AsyncFd;

use crate::machine::descriptor::watch;

/// How many events are taken before anything else gets its turn.
const AT_ONCE: u32 = 8192;

/// What the kernel side sends.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    /// It was left before it was empty.
    is_more: bool,
    /// No more events than this are in it at once.
    capacity: usize,
}

impl Events {
    /// The events of a ring buffer of so many bytes. Has to be called within a runtime.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn new(ring: RingBuf<MapData>, bytes: u32) -> io::Result<Self> {
        Ok(Self {
            ring: watch(ring)?,
            is_more: false,
            capacity: bytes as usize / size_of::<Header>(),
        })
    }

    /// Takes what is there, and not what programs go on to add. An item is given up once `take` returns.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        for _ in 0..self.capacity {
            let Some(item) = self.ring.get_mut().next() else {
                break;
            };
            take(&item);
        }
    }

    /// Whether there was more than was taken at once.
    #[must_use]
    pub fn is_more(&self) -> bool {
        self.is_more
    }

    /// Waits for more, and takes it; a good deal at most, as programs can fill the buffer for as long
    /// as they like, and there is other work.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn more(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        if self.is_more {
            // Lets the runtime look at everything else that is awaited.
            tokio::task::yield_now().await;
        } else {
            // Cleared first: what comes while we read makes it ready again.
            self.ring.readable_mut().await?.clear_ready();
        }
        self.is_more = true;
        for _ in 0..AT_ONCE {
            let Some(item) = self.ring.get_mut().next() else {
                self.is_more = false;
                break;
            };
            take(&item);
        }
        Ok(())
    }
}
