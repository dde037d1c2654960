//! One line of the report.

use serde::Serialize;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Recording works; something is missing all the same.
    Warning,
    /// Nothing can be recorded because of this.
    Refused,
}

impl Status {
    /// The word in the report, of eight letters with its blanks.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok     ",
            Self::Warning => "warning",
            Self::Refused => "refused",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What; the same words on every machine.
    pub name: String,
    /// What it came to.
    pub status: Status,
    /// What there is, in one line.
    pub says: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Check {
    pub(super) fn new(status: Status, name: &str, says: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            status,
            says: says.into(),
            advice: None,
        }
    }

    pub(super) fn ok(name: &str, says: impl Into<String>) -> Self {
        Self::new(Status::Ok, name, says)
    }

    pub(super) fn warning(name: &str, says: impl Into<String>) -> Self {
        Self::new(Status::Warning, name, says)
    }

    pub(super) fn refused(name: &str, says: impl Into<String>) -> Self {
        Self::new(Status::Refused, name, says)
    }

    pub(super) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(super) fn line(&self) -> String {
        let advice = self.advice.iter().map(|advice| format!("; {advice}"));
        format!(
            "{}  {:<22}  {}{}\n",
            self.status.word(),
            self.name,
            self.says,
            advice.collect::<String>()
        )
    }
}
