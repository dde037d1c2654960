//! `oci`

use super::{Content, Format};
use crate::{output::Ours, policy::Decision, render::oci};

pub(super) const FORMAT: Format = Format {
    name: "oci",
    about: "The system call list of a container, NAME.seccomp.json",
    file_name: |subject, _| oci::file_name(subject),
    ours: Ours::Json,
    // JSON has no room for a list that is left out, and why.
    content: |plan, _| match &plan.oci().allowed {
        Decision::Given(allowed) => oci::seccomp(plan.oci(), allowed, &plan.options()).into(),
        Decision::Withheld(reasons) => Content::withheld(reasons),
    },
};
