//! What a file means for a fact.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use super::line::Line;

/// What a file means for a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement<'r> {
    /// It can happen again. Each ground is needed for that; without any, no line of the file is about it.
    Allowed(Vec<Ground<'r>>),
    /// It cannot.
    Refused(Refusal<'r>),
    /// Neither can be said.
    Unjudged(Unjudged),
}

/// Lines of which any one is enough to allow a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground<'r> {
    /// The lines; never none.
    pub any_of: Vec<&'r Line>,
}

/// What refuses a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<'r> {
    /// This line; a list, where what is not on it is refused.
    Line(&'r Line),
    /// The sandbox, whatever the file says.
    Always(&'static str),
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unjudged {
    /// The fact asks for nothing: the program was refused it, or it is no more than a question.
    AsksForNothing(Cow<'static, str>),
    /// No directive of the format is about such facts, or none that harden reads.
    NotExpressible(&'static str),
    /// It depends on what the fact does not say.
    NotKnown(&'static str),
    /// It depends on what the file does not say, so that the file may refuse it.
    NotSaid(&'static str),
}

impl<'r> Judgement<'r> {
    pub(super) const FREE: Self = Self::Allowed(Vec::new());

    /// Whether it can happen again.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// Whether it cannot.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// The lines without which it could not happen, one by one: where one of several is enough, none of them.
    pub fn rests_on(&self) -> impl Iterator<Item = &'r Line> {
        let grounds = match self {
            Self::Allowed(grounds) => grounds.as_slice(),
            _ => &[],
        };
        grounds.iter().filter_map(|ground| match ground.any_of[..] {
            [only] => Some(only),
            _ => None,
        })
    }

    /// Every line that the judgement names.
    #[must_use]
    pub fn lines(&self) -> Vec<&'r Line> {
        match self {
            Self::Allowed(grounds) => {
                let lines = grounds.iter().flat_map(|ground| &ground.any_of);
                lines.copied().collect()
            }
            Self::Refused(Refusal::Line(line)) => vec![line],
            Self::Refused(Refusal::Always(_)) | Self::Unjudged(_) => Vec::new(),
        }
    }

    /// A fact about arguments that a later harden recorded.
    pub(super) const UNKNOWN_ARGUMENT: Self = Self::Unjudged(Unjudged::NotKnown(
        "this version of harden does not know this fact about arguments",
    ));

    /// A call that never began.
    pub(super) const REFUSED: Self = Self::Unjudged(Unjudged::NotKnown(
        "a filter refused the call, and whether the program needs it is not known",
    ));

    pub(super) fn asks_for_nothing(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Unjudged(Unjudged::AsksForNothing(why.into()))
    }
}

/// `allowed by caps.keep chown`, `refused by private-tmp`, `not judged: …`
impl fmt::Display for Judgement<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed(grounds) if grounds.is_empty() => {
                out.write_str("allowed: no line is about it")
            }
            Self::Allowed(grounds) => {
                let grounds: Vec<String> = grounds.iter().map(ToString::to_string).collect();
                write!(out, "allowed by {}", grounds.join(" and "))
            }
            Self::Refused(Refusal::Line(line)) => write!(out, "refused by {line}"),
            Self::Refused(Refusal::Always(why)) => write!(out, "refused: {why}"),
            Self::Unjudged(why) => why.fmt(out),
        }
    }
}

impl fmt::Display for Ground<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More of them make no reader wiser.
        const NAMED: usize = 3;
        let lines = self.any_of.iter().take(NAMED);
        let mut lines: Vec<String> = lines.map(ToString::to_string).collect();
        if self.any_of.len() > NAMED {
            lines.push(format!("{} more", self.any_of.len() - NAMED));
        }
        out.write_str(&lines.join(" or "))
    }
}

impl fmt::Display for Unjudged {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsksForNothing(why) => write!(out, "asks for nothing: {why}"),
            Self::NotExpressible(why) | Self::NotKnown(why) | Self::NotSaid(why) => {
                write!(out, "not judged: {why}")
            }
        }
    }
}

/// What one part of a file means for a fact: nothing, a ground, or a refusal. The parts are asked in turn.
pub(super) type Step<'r> = Result<Vec<Ground<'r>>, Refusal<'r>>;

/// Nothing is refused, and no line is needed for that.
pub(super) const PASS: Step<'static> = Ok(Vec::new());

/// One line is needed.
pub(super) fn by(line: &Line) -> Step<'_> {
    each([line])
}

/// Each of the lines is needed.
#[expect(clippy::unnecessary_wraps, reason = "one of several steps")]
pub(super) fn each<'r>(lines: impl IntoIterator<Item = &'r Line>) -> Step<'r> {
    let lines: BTreeSet<&Line> = lines.into_iter().collect();
    let grounds = lines.into_iter().map(|line| Ground { any_of: vec![line] });
    Ok(grounds.collect())
}

/// One of the lines is needed.
#[expect(clippy::unnecessary_wraps, reason = "one of several steps")]
pub(super) fn any(any_of: Vec<&Line>) -> Step<'_> {
    Ok(vec![Ground { any_of }])
}

/// A line refuses it.
pub(super) fn against(line: &Line) -> Step<'_> {
    Err(Refusal::Line(line))
}

/// All steps together: the first refusal, or all grounds.
pub(super) fn all<'r>(steps: impl IntoIterator<Item = Step<'r>>) -> Judgement<'r> {
    let mut grounds: Vec<Ground<'_>> = Vec::new();
    for step in steps {
        match step {
            Ok(more) => grounds.extend(more),
            Err(refusal) => return Judgement::Refused(refusal),
        }
    }
    grounds.dedup();
    Judgement::Allowed(grounds)
}
