//! The errors of the interface.

use serde::Serialize;
use zlink::{ReplyError, idl, introspect, varlink_service};

use crate::{
    agent::request::{MARK_LENGTH, MarkError, NotFound},
    observation::Text,
};

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, ReplyError, introspect::ReplyError)]
#[zlink(interface = "io.harden.Agent")]
pub enum AgentError {
    /// No unit has this name.
    UnitNotFound {
        /// What was asked for.
        unit: Text,
        /// Names like it.
        near: Vec<Text>,
    },
    /// The caller may not do this.
    PermissionDenied {
        /// Who may.
        needs: String,
    },
    /// Other clients have all the connections; try again.
    TooManyConnections {
        /// How many there are.
        limit: u64,
    },
    /// The run cannot be begun.
    MarkRefused {
        /// Why.
        reason: String,
    },
    /// The agent is about to end.
    Stopping,
}

impl AgentError {
    pub(super) fn denied_at_all() -> Self {
        Self::PermissionDenied {
            needs: "root, or membership of the group of the socket".to_owned(),
        }
    }

    pub(super) fn denied_change() -> Self {
        Self::PermissionDenied {
            needs: "root: the group may only read".to_owned(),
        }
    }

    pub(super) fn too_many(limit: usize) -> Self {
        Self::TooManyConnections {
            limit: limit as u64,
        }
    }

    pub(super) fn bad_mark() -> Self {
        Self::MarkRefused {
            reason: format!("a name has 1 to {MARK_LENGTH} bytes"),
        }
    }
}

impl From<NotFound> for AgentError {
    fn from(error: NotFound) -> Self {
        Self::UnitNotFound {
            unit: error.unit,
            near: error.near,
        }
    }
}

impl From<MarkError> for AgentError {
    fn from(error: MarkError) -> Self {
        match error {
            MarkError::NotFound(error) => error.into(),
            MarkError::Refused(reason) => Self::MarkRefused { reason },
        }
    }
}

impl std::fmt::Display for AgentError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnitNotFound { unit, near } => {
                write!(out, "no unit {unit} was seen")?;
                for (number, name) in near.iter().enumerate() {
                    let before = if number == 0 { "; is it " } else { ", " };
                    write!(out, "{before}{name}")?;
                }
                out.write_str(if near.is_empty() {
                    "; `harden units` lists them"
                } else {
                    "?"
                })
            }
            Self::PermissionDenied { needs } => write!(out, "this needs {}", Text::from(needs)),
            Self::TooManyConnections { limit } => {
                write!(
                    out,
                    "all {limit} connections to the agent are taken; try again"
                )
            }
            Self::MarkRefused { reason } => {
                write!(out, "no run was begun: {}", Text::from(reason))
            }
            Self::Stopping => out.write_str("the agent is about to end"),
        }
    }
}

impl std::error::Error for AgentError {}

/// What a method with many replies ends in: its own errors, or one of Varlink's.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum StreamError {
    Agent(AgentError),
    Varlink(varlink_service::Error<'static>),
}

impl introspect::ReplyError for StreamError {
    // Those of org.varlink.service belong to no other interface.
    const VARIANTS: &'static [&'static idl::Error<'static>] =
        <AgentError as introspect::ReplyError>::VARIANTS;
}

impl From<AgentError> for StreamError {
    fn from(error: AgentError) -> Self {
        Self::Agent(error)
    }
}
