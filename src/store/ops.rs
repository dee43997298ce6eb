//! One typed wrapper per script, grouped by what they are about.

pub mod accounts;
pub mod admit;
pub mod listing;
pub mod locks;
pub mod models;
pub mod release;
pub mod replicas;
pub mod settings;
pub mod settle;
pub mod signatures;
pub mod tokens;

use super::host::Event;
use super::ident::{AccountId, ReplicaId};

/// An event of the pool's channel: a hint to look again, never the fact itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// An account was added, changed, removed, or became valid or invalid.
    Account(AccountId),
    /// A limit of an account was set or extended.
    Limit(AccountId),
    /// A limit of an account ended before its time.
    Lifted(AccountId),
    /// The catalogue of models was renewed.
    Models,
    /// Shared settings changed.
    Settings,
    /// A replica joined, left or lapsed.
    Replica(ReplicaId),
    /// Events were missed: any of the above may have happened.
    Gap,
}

impl PoolEvent {
    /// Reads `<kind> <id> <seq>`; `None` for another channel or a kind this version does not know.
    #[must_use]
    pub fn parse(channel: &str, event: &Event) -> Option<Self> {
        let payload = match event {
            Event::Gap => return Some(Self::Gap),
            Event::Message { channel: other, .. } if other != channel => return None,
            Event::Message { payload, .. } => payload,
        };
        let mut words = std::str::from_utf8(payload).ok()?.split(' ');
        let (kind, id) = (words.next()?, words.next()?);
        match kind {
            "account" => AccountId::new(id).ok().map(Self::Account),
            "limit" => AccountId::new(id).ok().map(Self::Limit),
            "lifted" => AccountId::new(id).ok().map(Self::Lifted),
            "models" => Some(Self::Models),
            "settings" => Some(Self::Settings),
            "replica" => ReplicaId::new(id).ok().map(Self::Replica),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_other_channels_and_kinds_are_ignored() {
        let event = |payload: &'static str| Event::Message { channel: "a".into(), payload: payload.into() };
        let account = AccountId::new("x1").unwrap();
        assert_eq!(PoolEvent::parse("a", &event("account x1 9")), Some(PoolEvent::Account(account.clone())));
        assert_eq!(PoolEvent::parse("a", &event("limit x1 9")), Some(PoolEvent::Limit(account.clone())));
        assert_eq!(PoolEvent::parse("a", &event("lifted x1 9")), Some(PoolEvent::Lifted(account)));
        assert_eq!(PoolEvent::parse("a", &event("settings cfg 9")), Some(PoolEvent::Settings));
        let replica = ReplicaId::new("x1").unwrap();
        assert_eq!(PoolEvent::parse("a", &event("replica x1 9")), Some(PoolEvent::Replica(replica)));
        assert_eq!(PoolEvent::parse("a", &event("new x1 9")), None);
        assert_eq!(PoolEvent::parse("b", &event("account x1 9")), None);
        assert_eq!(PoolEvent::parse("b", &Event::Gap), Some(PoolEvent::Gap));
    }
}
