//! One typed wrapper per script, grouped by what they are about.

pub mod accounts;
pub mod admit;
pub mod asks;
pub mod audit;
pub mod capacity;
pub mod census;
pub mod clients;
pub mod console;
pub mod explain;
pub mod imports;
pub mod listing;
pub mod locks;
pub mod models;
pub mod presets;
pub mod refreshes;
pub mod release;
pub mod replicas;
pub mod restore;
pub mod sealed;
pub mod settings;
pub mod settle;
pub mod signatures;
pub mod signins;
pub mod tokens;
pub mod trackers;
pub mod usage;

use self::asks::Question;
use super::host::Event;
use super::ident::{AccountId, OwnerId, ReplicaId};

/// An event of the pool's channel: a hint to look again, never the fact itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// An account was added, changed, removed, or became valid or invalid.
    Account(AccountId),
    /// A limit of an account was set or extended.
    Limit(AccountId),
    /// A limit of an account ended before its time.
    Lifted(AccountId),
    /// An account at its bound of concurrent requests has room again.
    Freed(AccountId),
    /// The catalogue of models was renewed.
    Models,
    /// Shared settings changed.
    Settings,
    /// Client keys changed.
    Clients,
    /// The console's password changed, or sessions ended.
    Console,
    /// A replica joined, left or lapsed.
    Replica(ReplicaId),
    /// A replica asks the others.
    Asked(OwnerId, Question),
    /// Events were missed: any of the above may have happened.
    Gap,
}

impl PoolEvent {
    /// Reads `<kind> <id> <seq>`, behind which a question has its words; `None` for another channel, or a kind or question
    /// that this version does not know.
    #[must_use]
    pub fn parse(channel: &str, event: &Event) -> Option<Self> {
        let payload = match event {
            Event::Gap => return Some(Self::Gap),
            Event::Message { channel: other, .. } if other != channel => return None,
            Event::Message { payload, .. } => payload,
        };
        let mut words = std::str::from_utf8(payload).ok()?.splitn(4, ' ');
        let (kind, id) = (words.next()?, words.next()?);
        match kind {
            "account" => AccountId::new(id).ok().map(Self::Account),
            "limit" => AccountId::new(id).ok().map(Self::Limit),
            "lifted" => AccountId::new(id).ok().map(Self::Lifted),
            "freed" => AccountId::new(id).ok().map(Self::Freed),
            "models" => Some(Self::Models),
            "settings" => Some(Self::Settings),
            "keys" => Some(Self::Clients),
            "console" => Some(Self::Console),
            "replica" => ReplicaId::new(id).ok().map(Self::Replica),
            "ask" => Some(Self::Asked(OwnerId::new(id).ok()?, words.nth(1)?.parse().ok()?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ident::RequestName;

    #[test]
    fn events_of_other_channels_and_kinds_are_ignored() {
        let event = |payload: &'static str| Event::Message { channel: "a".into(), payload: payload.into() };
        let account = AccountId::new("x1").unwrap();
        assert_eq!(PoolEvent::parse("a", &event("account x1 9")), Some(PoolEvent::Account(account.clone())));
        assert_eq!(PoolEvent::parse("a", &event("limit x1 9")), Some(PoolEvent::Limit(account.clone())));
        assert_eq!(PoolEvent::parse("a", &event("lifted x1 9")), Some(PoolEvent::Lifted(account.clone())));
        assert_eq!(PoolEvent::parse("a", &event("freed x1 9")), Some(PoolEvent::Freed(account)));
        assert_eq!(PoolEvent::parse("a", &event("settings cfg 9")), Some(PoolEvent::Settings));
        assert_eq!(PoolEvent::parse("a", &event("keys 3 9")), Some(PoolEvent::Clients));
        assert_eq!(PoolEvent::parse("a", &event("console 3 9")), Some(PoolEvent::Console));
        let replica = ReplicaId::new("x1").unwrap();
        assert_eq!(PoolEvent::parse("a", &event("replica x1 9")), Some(PoolEvent::Replica(replica)));
        let owner = OwnerId::new("7").unwrap();
        assert_eq!(
            PoolEvent::parse("a", &event("ask 7 9 live")),
            Some(PoolEvent::Asked(owner.clone(), Question::LiveRequests))
        );
        let cancel = Question::Cancel(RequestName::new("req_1").unwrap());
        assert_eq!(
            PoolEvent::parse("a", &event("ask 7 9 cancel req_1")),
            Some(PoolEvent::Asked(owner, cancel))
        );
        assert_eq!(PoolEvent::parse("a", &event("ask 7 9")), None);
        assert_eq!(PoolEvent::parse("a", &event("new x1 9")), None);
        assert_eq!(PoolEvent::parse("b", &event("account x1 9")), None);
        assert_eq!(PoolEvent::parse("b", &Event::Gap), Some(PoolEvent::Gap));
    }
}
