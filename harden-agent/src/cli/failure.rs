//! Errors as JSON, for who asked for JSON.

use serde::Serialize;

use super::{snapshot::NoRuns, status::AgentFailed};
use crate::agent::control::{AgentError, ClientError};

/// An error, as one object.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// Its kind: a word that stays the same.
    error: &'static str,
    /// What happened, and where.
    message: String,
    /// What to do about it, where that is known.
    hint: Option<String>,
}

impl Failure {
    /// What stopped a command.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        let text = format!("{error:#}");
        let refused = match error.downcast_ref() {
            Some(ClientError::Refused(refused)) => Some(refused),
            _ => None,
        };
        let (message, hint) = match (refused, text.split_once('\n')) {
            (Some(refused), _) => (refused.message(), refused.hint()),
            (None, Some((message, hint))) => (message.to_owned(), Some(hint.to_owned())),
            (None, None) => (text, None),
        };
        Self {
            error: kind(error),
            message,
            hint,
        }
    }

    /// A command line that cannot be understood.
    #[must_use]
    pub fn of_usage(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let hint = rest.trim();
        Self {
            error: "usage",
            message: message.to_owned(),
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        }
    }

    /// One line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        // Strings always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn kind(error: &anyhow::Error) -> &'static str {
    if error.is::<NoRuns>() {
        return "no-runs";
    }
    if error.is::<AgentFailed>() {
        return "agent-failed";
    }
    match error.downcast_ref() {
        Some(ClientError::NoAgent { .. }) => "no-agent",
        Some(ClientError::Denied { .. }) => "permission-denied",
        Some(ClientError::Protocol { .. }) => "protocol",
        Some(ClientError::Gone { .. }) => "agent-gone",
        Some(ClientError::Refused(refused)) => match refused {
            AgentError::UnitNotFound { .. } => "unit-not-found",
            AgentError::UnitAmbiguous { .. } => "unit-ambiguous",
            AgentError::PermissionDenied { .. } => "permission-denied",
            AgentError::TooManyConnections { .. } => "too-many-connections",
            AgentError::MarkRefused { .. }
            | AgentError::ForgetRefused { .. }
            | AgentError::ShadowRefused { .. } => "refused",
            AgentError::Stopping => "agent-gone",
        },
        None => "failed",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn json(failure: &Failure) -> serde_json::Value {
        let line = failure.json();
        assert_eq!(line.lines().count(), 1, "{line}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn an_error_has_a_kind_a_message_and_a_hint() {
        let missing = ClientError::Refused(AgentError::UnitNotFound {
            unit: "ngnix\n; x".into(),
            near: vec!["nginx.service".into()],
        });
        assert_eq!(
            json(&Failure::of(&missing.into())),
            serde_json::json!({
                "error": "unit-not-found",
                "message": "no unit ngnix\\n; x was seen",
                "hint": "is it nginx.service?",
            })
        );
        let no_agent = ClientError::NoAgent {
            path: "/run/a".into(),
            error: std::io::ErrorKind::NotFound.into(),
        };
        let failure = json(&Failure::of(&no_agent.into()));
        assert_eq!(failure["error"], "no-agent");
        assert_eq!(
            failure["hint"],
            "start it: sudo systemctl start harden; if it listens elsewhere: --socket PATH"
        );
        let plain = json(&Failure::of(&anyhow::anyhow!("no space").context("/tmp/a")));
        assert_eq!(plain["message"], "/tmp/a: no space");
        assert!(plain["hint"].is_null());
    }

    #[test]
    fn so_has_a_wrong_command_line() {
        let error =
            Cli::try_parse_from(["harden", "units", "--json", "--sort", "size"]).unwrap_err();
        let failure = json(&Failure::of_usage(&error));
        assert_eq!(failure["error"], "usage");
        assert!(
            failure["message"].as_str().unwrap().contains("size"),
            "{failure}"
        );
        assert!(!failure["hint"].is_null());
    }
}
