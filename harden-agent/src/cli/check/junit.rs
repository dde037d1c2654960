//! A report that test rigs read: a test case for each run, and one for the profile itself.

use std::fs::File;

use anyhow::Result;
use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::report::Report;
use crate::policy::judge::check::InRun;

/// Writes it.
pub(super) fn write(report: &Report<'_, '_>, strict: bool, file: File) -> Result<()> {
    let mut suite = TestSuite::new(format!(
        "{} under {}",
        report.observation.name, report.profile
    ));
    suite.add_test_case(of_profile(report, strict));
    for run in report.check.runs.values() {
        suite.add_test_case(of_run(report, run));
    }
    let mut junit = Junit::new("harden check");
    junit.add_test_suite(suite);
    Ok(junit.serialize(file)?)
}

/// Whether every line is judged, and means what it seems to mean.
fn of_profile(report: &Report<'_, '_>, strict: bool) -> TestCase {
    let traps = report.traps.iter();
    let traps = traps.map(|trap| (trap.is_fatal, format!("{}: {}", trap.position, trap.text)));
    let unread = report.read.unread.iter();
    let unread = unread.map(|one| (true, format!("{}: {}", one.position, one.reason)));
    let faults = traps
        .chain(unread)
        .filter(|(is_fatal, _)| strict || *is_fatal);
    let faults: Vec<String> = faults.map(|(_, text)| text).collect();
    case("the profile", "lines of the profile", &faults)
}

fn of_run(report: &Report<'_, '_>, run: &InRun<'_>) -> TestCase {
    let refused = run.refused.iter().map(|fact| {
        let by = report.check.refused.get(fact);
        let by = by.map(|refused| report.by(&refused.by)).unwrap_or_default();
        format!("{fact}: refused by {by}")
    });
    let refused: Vec<String> = refused.collect();
    let name = run.test.label.map_or_else(
        || run.test.id.to_string(),
        |label| format!("{label} ({})", run.test.id),
    );
    case(&name, "facts refused", &refused)
}

fn case(name: &str, what: &str, faults: &[String]) -> TestCase {
    if faults.is_empty() {
        return TestCase::new(name, TestCaseStatus::success());
    }
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status
        .set_message(format!("{what}: {}", faults.len()))
        .set_description(faults.join("\n"));
    TestCase::new(name, status)
}
