//! Which account a conversation used last, and how many conversations an account has.

use std::collections::BTreeMap;

use super::leases::Leases;

/// Assignments. A conversation's name stands for one client's conversation about one model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conversations {
    /// Account and the end of the record, by conversation.
    assigned: BTreeMap<String, (String, i64)>,
    /// Live assignments of the sticky strategy.
    pub(crate) live: Leases,
}

impl Conversations {
    pub(super) fn advance(&mut self, clock: i64) {
        self.assigned.retain(|_, (_, ends)| clock <= *ends);
    }

    /// The account of `conversation`.
    pub(super) fn account(&self, conversation: &str) -> Option<&str> {
        self.assigned.get(conversation).map(|(account, _)| account.as_str())
    }

    pub(super) fn assign(&mut self, conversation: &str, account: &str, ends: i64) {
        self.assigned.insert(conversation.to_owned(), (account.to_owned(), ends));
    }

    /// The store loses the account of `conversation`.
    pub(crate) fn lose(&mut self, conversation: &str) {
        self.assigned.remove(conversation);
    }
}
