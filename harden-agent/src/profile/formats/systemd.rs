//! `systemd`

use super::Format;
use crate::{output::Ours, render::systemd};

pub(super) const FORMAT: Format = Format {
    name: "systemd",
    about: "A systemd drop-in, NAME.drop-in.conf",
    file_name: |subject, _| systemd::file_name(subject),
    ours: Ours::Marker,
    content: |plan, _| systemd::drop_in(plan.systemd(), &plan.options_with_exposure()).into(),
};
