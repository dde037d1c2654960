//! The ring buffer, awaited.

use std::{io, time::Duration};

use aya::maps::{MapData, RingBuf};
use harden_common::{Header, WAKE_INTERVAL};
use tokio::{io::unix::AsyncFd, time::Instant};

use crate::machine::descriptor::watch;

/// How many events are taken before anything else gets its turn.
const AT_ONCE: u32 = 8192;

/// So long after it was woken the reader looks again, by when the kernel side would wake it for the next event. Longer than
/// [`WAKE_INTERVAL`] by what a program may take to send an event once it has looked at the time.
const LOOK_AGAIN: Duration = Duration::from_nanos(WAKE_INTERVAL + 1_000_000);
/// Longer than that only a program takes that was interrupted meanwhile: then the event is found after this.
const LOOK_ALWAYS: Duration = Duration::from_secs(1);

/// What the kernel side sends.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    /// It was left before it was empty.
    is_more: bool,
    /// When it is looked at though nobody was woken.
    next_look: Instant,
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
            next_look: Instant::now(),
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

    /// Waits for more, and takes it, if there is some by then; a good deal at most, as programs can fill the buffer for as long
    /// as they like, and there is other work.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn more(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        if self.is_more {
            // Lets the runtime look at everything else that is awaited.
            tokio::task::yield_now().await;
        } else {
            tokio::select! {
                // Cleared first: what comes while we read makes it ready again.
                ready = self.ring.readable_mut() => ready?.clear_ready(),
                () = tokio::time::sleep_until(self.next_look) => {}
            }
        }
        let mut taken = 0;
        while taken < AT_ONCE
            && let Some(item) = self.ring.get_mut().next()
        {
            take(&item);
            taken += 1;
        }
        self.is_more = taken == AT_ONCE;
        let pause = if taken > 0 { LOOK_AGAIN } else { LOOK_ALWAYS };
        self.next_look = Instant::now() + pause;
        Ok(())
    }
}
