//! The profile without one of its items: the same work has to fail.

use std::{ffi::OsStr, fmt::Debug};

use anyhow::Result;

use crate::{Process, Profile, firejail};

/// Takes `items` (a directive and one item of its list) out, one at a time, and lets `work` fail
/// under what is left; `prepare` makes each a first start. Its success under the whole profile is for the caller to see first: without
/// it a failure shows nothing.
///
/// # Panics
/// The work is done all the same: the item allows what nobody needs. Or it cannot be prepared.
pub fn assert_each_is_needed<S: AsRef<OsStr> + Debug>(
    profile: &Profile,
    items: &[(&str, &str)],
    command: &[S],
    prepare: impl Fn() -> Result<()>,
    work: impl Fn(&mut Process) -> Result<()>,
) {
    for (directive, item) in items {
        let mutated = profile.without(directive, item);
        prepare().expect("no first start");
        let Err(error) = firejail::run(&mutated, command, &work) else {
            panic!("the work is done without {item} in {directive}");
        };
        println!("without {item} in {directive}: {:#}", error.root_cause());
    }
}
