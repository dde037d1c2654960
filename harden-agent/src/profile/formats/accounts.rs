//! `accounts`

use super::Format;
use crate::{output::Ours, render::account};

pub(super) const FORMAT: Format = Format {
    name: "accounts",
    about: "An account for running without root, and what it needs, NAME.sysusers.conf",
    file_name: |subject, _| account::file_name(subject),
    ours: Ours::Marker,
    content: |plan, _| account::sysusers(plan.account(), &plan.options()).into(),
};
