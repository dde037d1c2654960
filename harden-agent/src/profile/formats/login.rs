//! `login`

use super::Format;
use crate::{output::Ours, render::login};

pub(super) const FORMAT: Format = Format {
    name: "login",
    about: "A login shell that starts the program under Firejail, NAME.login.sh",
    file_name: |subject, _| login::file_name(subject),
    ours: Ours::Marker,
    content: |plan, _| {
        let general = &plan.adapted().general.recorded;
        login::wrapper(plan.firejail(), general, &plan.options()).into()
    },
};
