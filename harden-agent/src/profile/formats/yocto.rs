//! `yocto`

use super::Format;
use crate::{output::Ours, render::yocto};

pub(super) const FORMAT: Format = Format {
    name: "yocto",
    about: "The part of a Yocto recipe that installs the files of the other formats, NAME.inc",
    file_name: |subject, _| yocto::file_name(subject),
    ours: Ours::Marker,
    content: |plan, written| {
        let files = yocto::Installed::all(plan.subject()).into_iter();
        let files: Vec<_> = files
            .filter(|file| written.iter().any(|output| output.name == file.name()))
            .collect();
        let syntax = plan.request().yocto_syntax;
        yocto::recipe(plan.subject(), &files, syntax, &plan.options()).into()
    },
};
