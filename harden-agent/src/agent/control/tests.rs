//! The interface over real sockets. The core is a small one with real data: not the kernel side
//! is under test.

mod client;
mod limits;
mod methods;
mod peers;
mod stage;

pub(crate) use stage::*;
