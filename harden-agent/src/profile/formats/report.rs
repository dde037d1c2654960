//! `report`

use super::Format;
use crate::{
    output::Ours,
    render::report::{self, Report},
};

pub(super) const FORMAT: Format = Format {
    name: "report",
    about: "A report of everything, for people to read, NAME.report.md",
    file_name: |subject, request| report::file_name(subject, request.report_syntax),
    ours: Ours::Marker,
    content: |plan, _| {
        let report = Report {
            observation: &plan.adapted().exact.recorded,
            profile: plan.firejail(),
            drop_in: plan.systemd(),
            account: plan.account(),
        };
        let syntax = plan.request().report_syntax;
        report.text(syntax, &plan.options_with_exposure()).into()
    },
};
