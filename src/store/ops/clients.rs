//! Client keys: who may call `/v1`.
//!
//! The store has the SHA-256 of each secret, never a secret. A key that was revoked stays known, so that its holder
//! can be told; there are at most [`CLIENTS_MAX`].

use std::time::Duration;

use serde_json::Value;

use super::admit::millis;
use crate::store::Store;
use crate::store::audit::{FieldChange, Row};
use crate::store::feed::notice::Notice;
use crate::store::host::{Arg, Call, StoreError};
use crate::store::ident::{ClientId, Version};
use crate::store::registry::{CHANGE_CLIENT, LIST_CLIENTS, PUT_CLIENT, TOUCH_CLIENTS};
use crate::store::reply::plain;
use crate::store::script::Script;

/// Most client keys of a pool, revoked ones included; beyond it those that were revoked first are forgotten.
pub const CLIENTS_MAX: usize = 10_000;
/// Uses of one call.
const USES_MAX: usize = 1000;

/// When a client key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Ms since the epoch, by the store's clock.
    At(i64),
    /// So long from the call on.
    After(Duration),
}

impl From<Expiry> for Arg {
    fn from(expiry: Expiry) -> Self {
        match expiry {
            Expiry::At(ms) => ms.into(),
            Expiry::After(left) => format!("+{}", millis(left)).into(),
        }
    }
}

/// A client key to be added.
#[derive(Clone, Copy, Debug)]
pub struct NewClient<'a> {
    /// New and random.
    pub id: &'a ClientId,
    /// Of its person or machine; no other key in force has it.
    pub name: &'a str,
    /// SHA-256 of the secret in lower-case hex.
    pub digest: &'a str,
    /// `None` for never.
    pub expires: Option<Expiry>,
    /// Models that it may use; empty for all. None of them contains a blank.
    pub models: &'a [String],
}

/// What becomes of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// It stays.
    #[default]
    Keep,
    /// Nothing is there any more.
    Clear,
    /// This is there.
    Set(T),
}

/// A change of a client key that is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientChange {
    /// A new name.
    pub name: Option<String>,
    /// Another end, or none.
    pub expires: Edit<Expiry>,
    /// Other models, or all.
    pub models: Edit<Vec<String>>,
    /// The digest of a new secret, and how long the one before stays good beside it.
    pub rotate: Option<(String, Duration)>,
    /// Whether it is revoked.
    pub revoke: bool,
}

impl ClientChange {
    /// What operators are told was done.
    fn kind(&self) -> &'static str {
        match self {
            Self { revoke: true, .. } => "key.revoked",
            Self { rotate: Some(_), .. } => "key.rotated",
            _ => "key.changed",
        }
    }
}

/// A client key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Of its person or machine.
    pub name: String,
    /// SHA-256 of the secret in lower-case hex.
    pub digest: String,
    /// When it was made; this and all other times in ms since the epoch, by the store's clock.
    pub created_ms: i64,
    /// When it ends; `None` for never.
    pub expires_ms: Option<i64>,
    /// Models that it may use; empty for all.
    pub models: Vec<String>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
    /// The digest of the secret before the last rotation, and until when that one is good.
    pub before: Option<(String, i64)>,
    /// When it was used last, to the minute; written some time after the use.
    pub used_ms: Option<i64>,
}

/// The client keys of a pool at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Grows with each change; 0 where no key was ever made.
    pub generation: Version,
    /// All of them by id, revoked ones too. Records that cannot be read are left out.
    pub clients: Vec<Client>,
}

/// What a look at the client keys found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The store's time, ms since the epoch.
    pub now_ms: i64,
    /// The keys; `None` while their generation is the known one.
    pub clients: Option<Clients>,
}

/// What became of a new client key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutClient {
    /// Added; the generation is now this.
    Done(Version),
    /// A key in force has the name.
    Taken,
    /// There are [`CLIENTS_MAX`], none of them revoked.
    Full,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeClient {
    /// Made; the generation is now this.
    Done(Version),
    /// There is no such key.
    Unknown,
    /// It is revoked, which nothing undoes.
    Revoked,
    /// Another key in force has the new name.
    Taken,
}

impl Store {
    /// All client keys; none of them while their generation is still `known`.
    pub async fn list_clients(&self, known: Option<Version>) -> Result<Looked, StoreError> {
        let call = self.clients_call(&LIST_CLIENTS).key(self.keys.named("keyuse"));
        let mut fields = self.run(self.timed(call.arg(known.map(|version| version.0)))).await?;
        let (code, stamp) = fields.head()?;
        let generation = Version(fields.number("a generation")?);
        let clients = match code.as_str() {
            "SAME" => {
                fields.end()?;
                None
            }
            "OK" => {
                let mut clients = Vec::new();
                while fields.left() > 0 {
                    clients.push(Client {
                        id: fields.parsed("a client key's id", |id| ClientId::new(id).ok())?,
                        name: fields.text("a name")?,
                        digest: fields.text("a digest")?,
                        created_ms: fields.number("a time")?,
                        expires_ms: fields.optional_number("a time or none")?,
                        models: fields.text("models")?.split_whitespace().map(str::to_owned).collect(),
                        revoked_ms: fields.optional_number("a time or none")?,
                        before: {
                            let digest = fields.optional("a digest or none")?;
                            digest.zip(fields.optional_number("a time or none")?)
                        },
                        used_ms: fields.optional_number("a time or none")?,
                    });
                }
                Some(Clients { generation, clients })
            }
            other => return Err(fields.unknown(other)),
        };
        Ok(Looked { now_ms: stamp.now_ms, clients })
    }

    /// Adds a client key.
    pub async fn put_client(&self, new: &NewClient<'_>) -> Result<PutClient, StoreError> {
        let name = plain(&PUT_CLIENT, "name", new.name)?;
        let models = joined(&PUT_CLIENT, new.models)?;
        let row = Row::new(Some(name), || {
            let mut changes =
                vec![FieldChange::to("id", new.id.as_str()), FieldChange::to("models", models.as_str())];
            changes.extend(new.expires.map(|expiry| FieldChange::to("expiresAt", shown(expiry))));
            changes
        });
        let call = self
            .clients_call(&PUT_CLIENT)
            .key(self.keys.named("keyuse"))
            .key(self.keys.named("audit"))
            .arg(new.id.as_str())
            .arg(name)
            .arg(plain(&PUT_CLIENT, "digest", new.digest)?)
            .arg(new.expires)
            .arg(&*models)
            .arg(CLIENTS_MAX)
            .arg(self.keys.channel())
            .arg(&*row.text);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let outcome = match code.as_str() {
            "OK" => PutClient::Done(Version(fields.number("a generation")?)),
            "TAKEN" => PutClient::Taken,
            "FULL" => PutClient::Full,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if matches!(outcome, PutClient::Done(_)) {
            row.kept();
            self.note(stamp, Notice::ClientKey { id: new.id, kind: "key.created" });
        }
        Ok(outcome)
    }

    /// Changes a client key: all that is asked for, or nothing.
    pub async fn change_client(
        &self,
        id: &ClientId,
        change: &ClientChange,
    ) -> Result<ChangeClient, StoreError> {
        let models = match &change.models {
            Edit::Set(models) if !models.is_empty() => joined(&CHANGE_CLIENT, models)?,
            Edit::Keep => String::new(),
            Edit::Clear | Edit::Set(_) => "-".to_owned(),
        };
        let (digest, grace) =
            change.rotate.as_ref().map_or(("", Duration::ZERO), |(new, grace)| (new, *grace));
        let row = Row::new(None, || told(id, change));
        let call = self
            .clients_call(&CHANGE_CLIENT)
            .key(self.keys.named("audit"))
            .arg(id.as_str())
            .arg(plain(&CHANGE_CLIENT, "name", change.name.as_deref().unwrap_or_default())?)
            .arg(match change.expires {
                Edit::Keep => Arg::from(""),
                Edit::Clear => Arg::from("-"),
                Edit::Set(expiry) => expiry.into(),
            })
            .arg(models)
            .arg(plain(&CHANGE_CLIENT, "digest", digest)?)
            .arg(millis(grace))
            .arg(change.revoke)
            .arg(self.keys.channel())
            .arg(&*row.text);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let outcome = match code.as_str() {
            "OK" => ChangeClient::Done(Version(fields.number("a generation")?)),
            "NONE" => ChangeClient::Unknown,
            "REVOKED" => ChangeClient::Revoked,
            "TAKEN" => ChangeClient::Taken,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if matches!(outcome, ChangeClient::Done(_)) {
            row.kept();
            self.note(stamp, Notice::ClientKey { id, kind: change.kind() });
        }
        Ok(outcome)
    }

    /// Remembers that client keys were used so long ago, to the minute.
    pub async fn touch_clients(&self, uses: &[(ClientId, Duration)]) -> Result<(), StoreError> {
        for uses in uses.chunks(USES_MAX) {
            let call = self.clients_call(&TOUCH_CLIENTS).key(self.keys.named("keyuse"));
            let call = uses.iter().fold(call, |call, (id, ago)| call.arg(id.as_str()).arg(millis(*ago)));
            let mut fields = self.run(self.timed(call)).await?;
            fields.head()?;
            fields.number::<u64>("client keys")?;
            fields.end()?;
        }
        Ok(())
    }

    fn clients_call(&self, script: &'static Script) -> Call {
        Call::new(script).key(self.keys.named("meta")).key(self.keys.named("keys"))
    }
}

/// A change for the audit trail.
fn told(id: &ClientId, change: &ClientChange) -> Vec<FieldChange> {
    let mut changes = vec![FieldChange::to("id", id.as_str())];
    if let Some(name) = &change.name {
        changes.push(FieldChange::to("name", name.as_str()));
    }
    match change.expires {
        Edit::Keep => {}
        Edit::Clear => changes.push(FieldChange::to("expiresAt", ())),
        Edit::Set(expiry) => changes.push(FieldChange::to("expiresAt", shown(expiry))),
    }
    match &change.models {
        Edit::Keep => {}
        Edit::Clear => changes.push(FieldChange::to("models", ())),
        Edit::Set(models) => changes.push(FieldChange::to("models", models.join(" "))),
    }
    if let Some((_, grace)) = &change.rotate {
        changes.push(FieldChange::to("secret", "new"));
        changes.push(FieldChange::to("graceMs", millis(*grace)));
    }
    if change.revoke {
        changes.push(FieldChange::to("state", "revoked"));
    }
    changes
}

fn shown(expiry: Expiry) -> Value {
    match expiry {
        Expiry::At(ms) => ms.into(),
        Expiry::After(left) => format!("in {} ms", millis(left)).into(),
    }
}

/// Model names as one text.
fn joined(script: &'static Script, models: &[String]) -> Result<String, StoreError> {
    let blank = models.iter().any(|model| model.is_empty() || model.contains(char::is_whitespace));
    if blank {
        let problem = "empty, or with a blank";
        return Err(StoreError::BadArgument { script: script.name, field: "models", problem });
    }
    plain(script, "models", &models.join(" ")).map(str::to_owned)
}
