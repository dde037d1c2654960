//! Varlink messages on a stream: JSON objects, each ended by a NUL. Bounded in size and time.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

/// Reads calls.
pub(super) struct Frames<R> {
    stream: R,
    buffer: Vec<u8>,
    /// How much of the buffer was given out by the last [`Frames::next`].
    given: usize,
    /// How much of it holds no NUL.
    searched: usize,
    limit: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(stream: R, limit: usize) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            given: 0,
            searched: 0,
            limit,
        }
    }

    /// The next message without its NUL; `None` if the peer is gone between two.
    pub(super) async fn next(
        &mut self,
        half: Duration,
        idle: Duration,
    ) -> io::Result<Option<&[u8]>> {
        self.drop_given();
        let mut deadline = Instant::now() + if self.buffer.is_empty() { idle } else { half };
        while !self.is_whole() {
            let first = self.buffer.is_empty();
            match timeout_at(deadline, self.fill()).await {
                Err(_) if first => return Err(error("it was quiet for too long")),
                Err(_) => return Err(error("half a message came, and the rest did not")),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(false)) if first => return Ok(None),
                Ok(Ok(false)) => return Err(error("it ended in the middle of a message")),
                Ok(Ok(true)) if first => deadline = Instant::now() + half,
                Ok(Ok(true)) => {}
            }
        }
        self.given = self.searched + 1;
        Ok(self.buffer.get(..self.searched))
    }

    /// Reads on while replies go out, so that the end of the peer is noticed. Returns at its end.
    pub(super) async fn gone(&mut self) -> io::Result<()> {
        self.drop_given();
        while self.fill().await? {}
        Ok(())
    }

    fn drop_given(&mut self) {
        self.buffer.drain(..self.given);
        self.given = 0;
        self.searched = 0;
        // One large call should not cost its size for as long as the connection lives.
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    fn is_whole(&mut self) -> bool {
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        if let Some(offset) = rest.iter().position(|&byte| byte == 0) {
            self.searched += offset;
            true
        } else {
            self.searched = self.buffer.len();
            false
        }
    }

    /// Reads some more; whether there was any. A future that is dropped has read nothing.
    async fn fill(&mut self) -> io::Result<bool> {
        let mut step = [0; 1024];
        let room = self.limit.saturating_sub(self.buffer.len()).min(step.len());
        if room == 0 {
            return Err(error("the message is too long"));
        }
        let read = self.stream.read(&mut step[..room]).await?;
        self.buffer.extend(&step[..read]);
        Ok(read > 0)
    }
}

/// Writes a message, all of it within `stalled`.
pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl serde::Serialize,
    stalled: Duration,
) -> io::Result<()> {
    let bytes = encode(message)?;
    match timeout(stalled, stream.write_all(&bytes)).await {
        Ok(result) => result,
        Err(_) => Err(error("it does not read its replies")),
    }
}

/// A message and its NUL.
pub(super) fn encode(message: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(0);
    Ok(bytes)
}

fn error(text: &'static str) -> io::Error {
    io::Error::other(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    /// What comes of `chunks`, each written when the last was read.
    async fn read(chunks: &[&[u8]], limit: usize) -> (Vec<Vec<u8>>, Option<String>) {
        let (mut near, far) = tokio::io::duplex(1);
        let chunks: Vec<Vec<u8>> = chunks.iter().map(|chunk| chunk.to_vec()).collect();
        let writer = tokio::spawn(async move {
            for chunk in chunks {
                if near.write_all(&chunk).await.is_err() {
                    break;
                }
            }
        });
        let mut frames = Frames::new(far, limit);
        let mut messages = Vec::new();
        let ended = loop {
            match frames.next(LONG, LONG).await {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        drop(frames);
        writer.await.unwrap();
        (messages, ended)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_are_cut(
            messages in proptest::collection::vec(
                proptest::collection::vec(1_u8.., 0..40), 0..8),
            cuts in proptest::collection::vec(1_usize..30, 0..20),
        ) {
            let mut bytes: Vec<u8> = Vec::new();
            for message in &messages {
                bytes.extend(message);
                bytes.push(0);
            }
            let mut chunks = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts {
                let (chunk, more) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = more;
            }
            chunks.push(rest);
            let (read, ended) = runtime().block_on(read(&chunks, 64));
            prop_assert_eq!(read, messages);
            prop_assert_eq!(ended, None);
        }
    }

    #[test]
    fn a_message_is_at_most_as_long_as_the_limit() {
        let runtime = runtime();
        let fits = [b"x".repeat(63), vec![0]].concat();
        let (messages, ended) = runtime.block_on(read(&[&fits, &fits], 64));
        assert_eq!((messages.len(), ended), (2, None));
        let endless = b"x".repeat(1 << 20);
        let (messages, ended) = runtime.block_on(read(&[&fits, &endless], 64));
        assert_eq!(messages.len(), 1);
        assert_eq!(ended.as_deref(), Some("the message is too long"));
    }

    #[test]
    fn half_a_message_is_waited_for_only_so_long() {
        runtime().block_on(async {
            let (mut near, far) = tokio::io::duplex(64);
            let mut frames = Frames::new(far, 64);
            let begun = Instant::now();
            let half = Duration::from_millis(100);
            // Dripping does not buy time.
            let drip = tokio::spawn(async move {
                while near.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            let error = frames.next(half, LONG).await.unwrap_err().to_string();
            assert!(error.starts_with("half a message"), "{error}");
            assert!(begun.elapsed() >= half);
            drop(frames);
            drip.await.unwrap();

            let (_near, far) = tokio::io::duplex(64);
            let mut frames = Frames::new(far, 64);
            let error = frames.next(LONG, half).await.unwrap_err().to_string();
            assert!(error.starts_with("it was quiet"), "{error}");
        });
    }

    #[test]
    fn who_does_not_read_is_given_up() {
        runtime().block_on(async {
            let (mut near, _far) = tokio::io::duplex(8);
            let stalled = Duration::from_millis(50);
            let error = write(&mut near, &"a long text", stalled).await.unwrap_err();
            assert_eq!(error.to_string(), "it does not read its replies");
        });
    }
}
