//! `login`

use super::{Content, Format};
use crate::{output::Ours, policy::Decision, render::login};

pub(super) const FORMAT: Format = Format {
    name: "login",
    about: "A login shell that starts the program under Firejail, NAME.login.sh",
    file_name: |subject, _| login::file_name(subject),
    ours: Ours::Marker,
    content: |plan, _| match plan.login() {
        Decision::Given(words) => login::wrapper(plan.firejail(), words, &plan.options()).into(),
        Decision::Withheld(reasons) => Content::withheld(reasons),
    },
};
