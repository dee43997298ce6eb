//! Which replicas serve a pool, and which version each of them runs.

use std::time::Duration;

use super::admit::millis;
use crate::store::Store;
use crate::store::feed::notice::Notice;
use crate::store::host::{Call, StoreError};
use crate::store::ident::{ReplicaId, Stamp, Version};
use crate::store::registry::{ANNOUNCE_REPLICA, DIGEST, LIST_REPLICAS, RETIRE_REPLICA};
use crate::store::reply::plain;

/// What a replica tells about itself; its version and its scripts are those of this build.
#[derive(Clone, Copy, Debug)]
pub struct Announcement<'a> {
    /// Its id.
    pub id: &'a ReplicaId,
    /// How long it is known without another announcement.
    pub ttl: Duration,
    /// The name of its machine, or of its pod.
    pub host: &'a str,
    /// How long it has been running.
    pub uptime: Duration,
    /// Requests in flight.
    pub in_flight: u64,
    /// The generation of shared settings it works with.
    pub generation: Version,
    /// Whether it takes new requests.
    pub state: ReplicaState,
    /// Ids of its encryption keys, the one that seals first.
    pub keys: &'a [String],
}

/// Whether a replica takes new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// It does.
    Serving,
    /// It finishes those it has and ends.
    Draining,
}

impl ReplicaState {
    /// `serving` or `draining`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Serving, Self::Draining].into_iter().find(|state| state.as_str() == name)
    }
}

/// What an announcement found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// When.
    pub stamp: Stamp,
    /// Whether the replica was unknown before.
    pub joined: bool,
    /// Replicas known now, this one included.
    pub known: u64,
    /// Whether the pool's list has the key that the replica seals with; also when it has none.
    pub listed: bool,
    /// Replicas that had stopped announcing themselves and are known no more; each is reported to one caller only.
    pub lapsed: Vec<LapsedReplica>,
}

/// A replica that ended without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LapsedReplica {
    /// Its id.
    pub id: ReplicaId,
    /// The name of its machine.
    pub host: String,
}

/// The replicas of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// When it was read.
    pub stamp: Stamp,
    /// Those alive, by id.
    pub replicas: Vec<ReplicaView>,
}

/// One replica as the pool knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaView {
    /// Its id.
    pub id: ReplicaId,
    /// The version of its program.
    pub version: String,
    /// The digest of its scripts.
    pub scripts: String,
    /// The name of its machine.
    pub host: String,
    /// When it started, ms since the epoch, by the store's clock.
    pub started_at_ms: i64,
    /// Requests in flight.
    pub in_flight: u64,
    /// The generation of shared settings it works with.
    pub generation: Version,
    /// Whether it takes new requests.
    pub state: ReplicaState,
    /// When it announced itself last, ms since the epoch, by the store's clock.
    pub seen_at_ms: i64,
    /// Ids of its encryption keys, newest first; empty when it is of a version that does not tell.
    pub keys: Vec<String>,
}

impl Store {
    /// Makes this replica known, or renews it, and drops those that lapsed.
    pub async fn announce_replica(&self, announcement: &Announcement<'_>) -> Result<Announced, StoreError> {
        let host = plain(&ANNOUNCE_REPLICA, "host", announcement.host)?;
        let call = Call::new(&ANNOUNCE_REPLICA)
            .key(self.keys.named("meta"))
            .key(self.keys.named("replicas"))
            .key(self.keys.named("vault"))
            .arg(announcement.id.as_str())
            .arg(millis(announcement.ttl).max(1))
            .arg(env!("CARGO_PKG_VERSION"))
            .arg(DIGEST.as_str())
            .arg(host)
            .arg(millis(announcement.uptime))
            .arg(announcement.in_flight)
            .arg(announcement.generation.0)
            .arg(announcement.state.as_str())
            .arg(plain(&ANNOUNCE_REPLICA, "keys", &announcement.keys.join(" "))?)
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        let (_, stamp) = fields.head()?;
        let joined = fields.flag("whether it joined")?;
        let known = fields.number("replicas")?;
        let listed = fields.flag("whether the list has its key")?;
        let mut lapsed = Vec::new();
        while fields.left() > 0 {
            let id = fields.parsed("a replica's id", |id| ReplicaId::new(id).ok())?;
            lapsed.push(LapsedReplica { id, host: fields.text("a host")? });
        }
        if joined {
            self.note(stamp, Notice::ReplicaJoined { id: announcement.id, host });
        }
        for LapsedReplica { id, host } in &lapsed {
            self.note(stamp, Notice::ReplicaLapsed { id, host });
        }
        Ok(Announced { stamp, joined, known, listed, lapsed })
    }

    /// Forgets this replica; `false` when it had lapsed.
    pub async fn retire_replica(&self, id: &ReplicaId) -> Result<bool, StoreError> {
        let call = Call::new(&RETIRE_REPLICA)
            .key(self.keys.named("meta"))
            .key(self.keys.named("replicas"))
            .arg(id.as_str())
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let known = match code.as_str() {
            "OK" => true,
            "NONE" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if known {
            self.note(stamp, Notice::ReplicaLeft { id });
        }
        Ok(known)
    }

    /// The replicas that are alive.
    pub async fn list_replicas(&self) -> Result<Replicas, StoreError> {
        let call = Call::new(&LIST_REPLICAS).key(self.keys.named("meta")).key(self.keys.named("replicas"));
        let mut fields = self.run(self.timed(call)).await?;
        let (_, stamp) = fields.head()?;
        let mut replicas = Vec::new();
        while fields.left() > 0 {
            replicas.push(ReplicaView {
                id: fields.parsed("a replica's id", |id| ReplicaId::new(id).ok())?,
                version: fields.text("a version")?,
                scripts: fields.text("a digest")?,
                host: fields.text("a host")?,
                started_at_ms: fields.number("a start")?,
                in_flight: fields.number("requests in flight")?,
                generation: Version(fields.number("a generation")?),
                state: fields.parsed("a state", ReplicaState::from_name)?,
                seen_at_ms: fields.number("a time")?,
                keys: fields
                    .text("ids of keys")?
                    .split(' ')
                    .filter(|id| !id.is_empty())
                    .map(str::to_owned)
                    .collect(),
            });
        }
        Ok(Replicas { stamp, replicas })
    }
}
