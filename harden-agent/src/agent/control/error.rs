//! The errors of the interface.

use serde::Serialize;
use zlink::{ReplyError, idl, introspect, varlink_service};

use crate::{
    agent::request::{ForgetError, MARK_LENGTH, MarkError, NameError, ShadowError},
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
    /// Several units have this short name.
    UnitAmbiguous {
        /// What was asked for.
        unit: Text,
        /// Their full names.
        candidates: Vec<Text>,
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
    /// Nothing, or not all, was forgotten.
    ForgetRefused {
        /// Why.
        reason: String,
    },
    /// No profile was frozen, or none is.
    ShadowRefused {
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

impl From<NameError> for AgentError {
    fn from(error: NameError) -> Self {
        match error {
            NameError::NotFound { unit, near } => Self::UnitNotFound { unit, near },
            NameError::Ambiguous { unit, candidates } => Self::UnitAmbiguous { unit, candidates },
        }
    }
}

impl From<ForgetError> for AgentError {
    fn from(error: ForgetError) -> Self {
        match error {
            ForgetError::Name(error) => error.into(),
            ForgetError::Refused(reason) => Self::ForgetRefused { reason },
        }
    }
}

impl From<ShadowError> for AgentError {
    fn from(error: ShadowError) -> Self {
        match error {
            ShadowError::Name(error) => error.into(),
            ShadowError::Refused(reason) => Self::ShadowRefused { reason },
        }
    }
}

impl From<MarkError> for AgentError {
    fn from(error: MarkError) -> Self {
        match error {
            MarkError::Name(error) => error.into(),
            MarkError::Refused(reason) => Self::MarkRefused { reason },
        }
    }
}

impl AgentError {
    /// What happened.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::UnitNotFound { unit, .. } => format!("no unit {unit} was seen"),
            Self::UnitAmbiguous { unit, .. } => format!("{unit} is short for several units"),
            Self::PermissionDenied { needs } => format!("this needs {}", Text::from(needs)),
            Self::TooManyConnections { limit } => {
                format!("all {limit} connections to the agent are taken")
            }
            Self::MarkRefused { reason } => format!("no run was begun: {}", Text::from(reason)),
            Self::ForgetRefused { reason } => format!("not forgotten: {}", Text::from(reason)),
            Self::ShadowRefused { reason } => format!("no shadow: {}", Text::from(reason)),
            Self::Stopping => "the agent is about to end".to_owned(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let list = |names: &[Text]| {
            let names: Vec<String> = names.iter().map(Text::to_string).collect();
            names.join(", ")
        };
        match self {
            Self::UnitNotFound { near, .. } if near.is_empty() => {
                Some("`harden units` lists them".to_owned())
            }
            Self::UnitNotFound { near, .. } => Some(format!("is it {}?", list(near))),
            Self::UnitAmbiguous { candidates, .. } => {
                Some(format!("name one of them: {}", list(candidates)))
            }
            Self::TooManyConnections { .. } => Some("try again".to_owned()),
            _ => None,
        }
    }
}

impl std::fmt::Display for AgentError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.message())?;
        self.hint().map_or(Ok(()), |hint| write!(out, "; {hint}"))
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
