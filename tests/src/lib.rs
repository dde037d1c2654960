//! What the end-to-end suites share.

mod skip;

pub use skip::skip;
