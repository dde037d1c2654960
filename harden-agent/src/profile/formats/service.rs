//! `service`

use super::{Content, Format};
use crate::{output::Ours, policy::Decision, render::service};

pub(super) const FORMAT: Format = Format {
    name: "service",
    about: "A systemd drop-in that starts the unit under Firejail, NAME.firejail.conf",
    file_name: |subject, _| service::file_name(subject),
    ours: Ours::Marker,
    content: |plan, _| match plan.service() {
        Ok(decided) => match &decided.settings {
            Decision::Given(settings) => {
                service::service(decided, settings, &plan.options()).into()
            }
            Decision::Withheld(reasons) => Content::withheld(reasons),
        },
        Err(reason) => Content::Withheld(reason.to_owned()),
    },
};
