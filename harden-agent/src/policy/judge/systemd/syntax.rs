//! The lines of a unit and its drop-ins → assignments (systemd.syntax(7); `config_parse` in src/shared/conf-parser.c).

use super::super::{
    line::{Fault, not_judged},
    source::SourceLine,
};

/// A line, with those that it goes on in.
pub(super) struct Whole {
    pub(super) line: SourceLine,
    pub(super) says: Says,
}

/// What a line says.
pub(super) enum Says {
    /// Of the section for what a service may do.
    Assignment(String, String),
    Nothing,
    Fault(Fault),
}

enum Section {
    None,
    Service,
    /// Of which no directive is about what a service may do.
    Other,
    /// systemd reads no more of the file.
    Broken,
}

/// All lines but comments. Each file begins outside of all sections.
pub(super) fn parse(lines: &[SourceLine]) -> Vec<Whole> {
    let mut section = Section::None;
    let mut file = None;
    let whole = joined(lines).into_iter();
    whole
        .map(|line| {
            if file.as_ref() != Some(&line.position.file) {
                file = Some(line.position.file.clone());
                section = Section::None;
            }
            Whole {
                says: says(line.text.trim(), &mut section),
                line,
            }
        })
        .collect()
}

fn says(text: &str, section: &mut Section) -> Says {
    let fault = |fault: Result<(), Fault>| fault.map_or_else(Says::Fault, |()| Says::Nothing);
    if matches!(section, Section::Broken) {
        return fault(not_judged(
            "behind a broken section, and not read by systemd",
        ));
    }
    if text.starts_with('[') {
        *section = match text {
            "[Service]" => Section::Service,
            _ if text.ends_with(']') => Section::Other,
            _ => Section::Broken,
        };
        if matches!(section, Section::Broken) {
            return fault(not_judged(
                "no section, and systemd reads no more of the file",
            ));
        }
        return Says::Nothing;
    }
    match (text.split_once('='), section) {
        (Some((name, value)), Section::Service) => {
            Says::Assignment(name.trim().to_owned(), value.trim().to_owned())
        }
        (Some(_), Section::None) => fault(not_judged(
            "before the first section of its file, and ignored by systemd",
        )),
        (Some(_), _) => Says::Nothing,
        (None, _) => fault(not_judged("neither a section nor an assignment")),
    }
}

/// Lines that end in a backslash go on in the next one that is no comment. One behind another is no such end.
fn joined(lines: &[SourceLine]) -> Vec<SourceLine> {
    let mut all: Vec<SourceLine> = Vec::new();
    let mut goes_on = false;
    for line in lines {
        let text = line.text.trim_start();
        if text.starts_with(['#', ';']) {
            continue;
        }
        let slashes = text.len() - text.trim_end_matches('\\').len();
        let is_open = slashes % 2 == 1;
        let text = text.strip_suffix('\\').filter(|_| is_open).unwrap_or(text);
        match all.last_mut() {
            Some(last) if goes_on && last.position.file == line.position.file => {
                last.text.push(' ');
                last.text.push_str(text);
            }
            _ => all.push(SourceLine {
                position: line.position.clone(),
                text: text.to_owned(),
            }),
        }
        goes_on = is_open;
    }
    all.retain(|line| !line.text.trim().is_empty());
    all
}
