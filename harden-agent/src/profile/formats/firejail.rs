//! `firejail`

use super::Format;
use crate::{output::Ours, render::firejail};

pub(super) const FORMAT: Format = Format {
    name: "firejail",
    about: "A Firejail profile, NAME.profile",
    file_name: |subject, _| firejail::file_name(subject),
    ours: Ours::Marker,
    content: |plan, _| firejail::profile(plan.firejail(), &plan.options()).into(),
};
