//! Addresses under a Firejail profile: `net none` leaves a loopback device alone.

use crate::observation::Text;

use super::super::{
    super::systemd::is_loopback,
    judgement::{Judgement, Unjudged, against, all},
    line::{Line, Rules},
    recorded::Case,
};

pub(super) struct Network<'r> {
    none: Option<&'r Line>,
}

impl<'r> Network<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        Self {
            none: rules.elements("net").map(|(_, line)| line).next(),
        }
    }

    /// Of a socket that is no file.
    pub(super) fn judge(&self, address: &Text, case: &Case<'_, '_>) -> Judgement<'r> {
        let Some(line) = self.none else {
            return Judgement::Unjudged(Unjudged::NotExpressible(
                "no line of the profile is about addresses",
            ));
        };
        let text = address.to_string();
        if case.is_handed_over(text.split(' ').next().unwrap_or_default()) {
            return Judgement::Unjudged(Unjudged::NotKnown(
                "the socket was made by another process",
            ));
        }
        match is_loopback(address) {
            Some(true) => Judgement::Unjudged(Unjudged::NotKnown(
                "the other end has to be in the sandbox too",
            )),
            None if !address.as_bytes().starts_with(b"unix @") => Judgement::FREE,
            Some(false) | None => all([against(line)]),
        }
    }
}
