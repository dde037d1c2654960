//! Addresses under a drop-in. The filters are on packets: what is bound to an address that they refuse can be bound, and
//! is never reached.

use crate::observation::Text;

use super::{
    super::{
        super::systemd::is_loopback,
        judgement::{Judgement, Unjudged, against, all, by},
        line::{Line, Rules},
        recorded::Case,
    },
    Yes,
};

pub(super) struct Network<'r> {
    private: Option<&'r Line>,
    denied: Option<&'r Line>,
    local: Option<&'r Line>,
}

impl<'r> Network<'r> {
    pub(super) fn new(rules: &'r Rules, yes: &Yes<'r>) -> Self {
        let word = |directive, word| {
            let mut elements = rules.elements(directive);
            let found = elements.find(|(element, _)| *element == word);
            found.map(|(_, line)| line)
        };
        Self {
            private: yes.get("PrivateNetwork"),
            denied: word("IPAddressDeny", "any"),
            local: word("IPAddressAllow", "localhost"),
        }
    }

    /// Of a socket that is no file.
    pub(super) fn judge(&self, address: &Text, case: &Case<'_, '_>) -> Judgement<'r> {
        let text = address.to_string();
        let family = text.split(' ').next().unwrap_or_default();
        if case.is_handed_over(family) {
            // It stays in the namespace and under the filters of who made it.
            return Judgement::Unjudged(Unjudged::NotKnown(
                "the socket was made by another process",
            ));
        }
        let is_abstract = address.as_bytes().starts_with(b"unix @");
        let Some(local) = is_loopback(address) else {
            // Those of other families are of no network, or of the namespace's own.
            let private = self.private.filter(|_| is_abstract);
            return all(private.map(against));
        };
        let allowed = self.local.filter(|_| local && self.private.is_none());
        match (self.private.or(self.denied), allowed) {
            (Some(_), Some(line)) => all([by(line)]),
            (Some(line), None) => all([against(line)]),
            (None, _) => Judgement::FREE,
        }
    }
}
