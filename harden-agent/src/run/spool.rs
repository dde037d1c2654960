//! Items of the ring buffer that are still to be taken in. A copy is made several times as quickly as what an item
//! says is taken in, and takes a fifth of the memory: so who opens a million files at full speed does not find
//! the buffer full.

/// Bytes that wait at most. A program that fills the buffer faster for longer than that is recorded with losses.
const LIMIT: usize = 512 << 20;
/// Room that is kept when all is taken.
const KEPT: usize = 1 << 20;

/// Items, in their order.
#[derive(Default)]
pub(super) struct Spool {
    /// Each behind its length.
    bytes: Vec<u8>,
    at: usize,
    items: usize,
}

impl Spool {
    /// How many there are.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// Whether no more should be added.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= LIMIT
    }

    /// Adds one.
    pub(super) fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(&item.len().to_ne_bytes());
        self.bytes.extend_from_slice(item);
        self.items += 1;
    }

    /// Hands out the first `count`, or all there are.
    pub(super) fn take(&mut self, count: usize, mut each: impl FnMut(&[u8])) {
        for _ in 0..count {
            let Some((length, rest)) = self.bytes[self.at..].split_first_chunk() else {
                break;
            };
            let length = usize::from_ne_bytes(*length);
            each(&rest[..length]);
            self.at += size_of::<usize>() + length;
            self.items -= 1;
        }
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_its_order() {
        let mut spool = Spool::default();
        let mut out = Vec::new();
        for number in 0..10_u8 {
            spool.push(&vec![number; usize::from(number)]);
        }
        spool.take(4, |item| out.push(item.to_vec()));
        assert_eq!((spool.items(), out.len()), (6, 4));
        spool.push(b"last");
        spool.take(usize::MAX, |item| out.push(item.to_vec()));
        let mut expected: Vec<_> = (0..10_u8).map(|n| vec![n; usize::from(n)]).collect();
        expected.push(b"last".to_vec());
        assert_eq!(out, expected);
        assert_eq!((spool.items(), spool.bytes.len(), spool.at), (0, 0, 0));
        spool.take(1, |_| panic!("there is none"));
    }
}
