//! The console's door: password, sessions, tries, setup tokens, tickets.
//!
//! The store has the Argon2id hash of the password and the SHA-256 of each token; marks of what was tried are keyed by
//! the caller. Nothing in it opens the door.

use std::time::Duration;

use secrecy::SecretString;

use super::admit::millis;
use crate::store::Store;
use crate::store::audit::{FieldChange, Row};
use crate::store::host::{Call, StoreError};
use crate::store::ident::Version;
use crate::store::registry::{
    BEGIN_ATTEMPT, CHECK_SESSION, END_ATTEMPT, END_SESSIONS, OPEN_SESSION, PUT_SETUP, PUT_TICKET,
    SET_PASSWORD, TAKE_TICKET,
};
use crate::store::reply::{Fields, plain};

/// Most sessions of a pool; of more, the one that was used longest ago gives way.
pub const SESSIONS_MAX: usize = 1_000;
/// Most setup tokens: one per gateway that started lately.
pub const SETUPS_MAX: usize = 64;
/// Most tickets for the log stream.
pub const TICKETS_MAX: usize = 1_000;

/// What closes the door.
#[derive(Clone, Debug)]
pub struct Door {
    /// Grows with each change of the password; 0 where none was ever set.
    pub generation: Version,
    /// The hash of the password, where it is not the one that the caller knows; inside, `None` where there is none.
    pub news: Option<Option<SecretString>>,
}

impl Door {
    fn read(fields: &mut Fields) -> Result<Self, StoreError> {
        let generation = Version(fields.number("a generation")?);
        let news = fields.flag("news or none")?;
        let hash = fields.optional("a hash or none")?.map(SecretString::from);
        Ok(Self { generation, news: news.then_some(hash) })
    }
}

/// A session that is in force; times in ms since the epoch, by the store's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// By which it may be told.
    pub id: String,
    /// When it began.
    pub begun_ms: i64,
    /// When it ends unless it is used.
    pub idle_ends_ms: i64,
    /// When it ends.
    pub ends_ms: i64,
}

/// What was found at the door.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The store's time, ms since the epoch.
    pub now_ms: i64,
    /// What closes it.
    pub door: Door,
    /// The session, when it is in force.
    pub session: Option<StoredSession>,
}

/// How many different wrong credentials a peer may try in which time.
#[derive(Clone, Copy, Debug)]
pub struct TryLimit {
    /// So many.
    pub most: usize,
    /// In so long.
    pub window: Duration,
}

/// One credential that one peer tries.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The peer; no control characters.
    pub peer: &'a str,
    /// Known to the caller as the credential's, and of no use to others.
    pub mark: &'a str,
    /// How many of them there may be.
    pub limit: TryLimit,
}

/// Whether a credential may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayTry {
    /// Yes; say what came of it with [`Store::end_attempt`].
    Go,
    /// It is known to be wrong.
    Wrong,
    /// The peer has tried too many; it may go on after this.
    Blocked(Duration),
}

/// A session to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// The generation of the console that the password was right for.
    pub generation: Version,
    /// SHA-256 of the token in lower-case hex.
    pub digest: &'a str,
    /// By which it may be told.
    pub id: &'a str,
    /// How long it lasts without use.
    pub idle: Duration,
    /// How long it lasts at all.
    pub life: Duration,
}

/// Which sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<'a> {
    /// That of the token with this SHA-256.
    One(&'a str),
    /// All of them.
    All,
}

/// What became of a change of the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetPassword {
    /// Made; the generation is now this.
    Done(Version),
    /// Somebody else changed it first; look again.
    Changed(Version),
    /// The setup token is not good, or no longer.
    Token,
}

impl Store {
    /// Whether the session of the token with that SHA-256 is in force, which extends it to `idle` from now where that is
    /// given; and the door, unless its generation is still `known`. Without a digest only the door.
    pub async fn check_session(
        &self,
        known: Option<Version>,
        digest: Option<&str>,
        idle: Option<Duration>,
    ) -> Result<Checked, StoreError> {
        let call = Call::new(&CHECK_SESSION)
            .key(self.keys.named("meta"))
            .key(self.keys.named("console"))
            .key(self.keys.named("sessions"))
            .arg(known.map(|version| version.0))
            .arg(plain(&CHECK_SESSION, "digest", digest.unwrap_or_default())?)
            .arg(idle.map(millis));
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let door = Door::read(&mut fields)?;
        let session = match code.as_str() {
            "OK" => Some(StoredSession {
                id: fields.text("an id")?,
                begun_ms: fields.number("a time")?,
                idle_ends_ms: fields.number("a time")?,
                ends_ms: fields.number("a time")?,
            }),
            "NONE" => None,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(Checked { now_ms: stamp.now_ms, door, session })
    }

    /// Asks whether a credential may be tried; from here on it counts. `right` says that the caller knows it to be right
    /// for the generation `known`: then it does not.
    pub async fn begin_attempt(
        &self,
        attempt: &Attempt<'_>,
        known: Option<Version>,
        right: bool,
    ) -> Result<(Door, MayTry), StoreError> {
        let call = Call::new(&BEGIN_ATTEMPT)
            .key(self.keys.named("meta"))
            .key(self.keys.named("console"))
            .key(self.keys.tries(plain(&BEGIN_ATTEMPT, "peer", attempt.peer)?))
            .arg(known.map(|version| version.0))
            .arg(plain(&BEGIN_ATTEMPT, "mark", attempt.mark)?)
            .arg(right)
            .arg(attempt.limit.most)
            .arg(millis(attempt.limit.window));
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let door = Door::read(&mut fields)?;
        let may = match code.as_str() {
            "GO" => MayTry::Go,
            "WRONG" => MayTry::Wrong,
            "BLOCKED" => MayTry::Blocked(fields.millis("a time")?),
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok((door, may))
    }

    /// Says what came of a try on the door of that generation. A wrong one is told in the trail with the first of
    /// `rows`, and with the second where its peer is locked out by it. Answers how many different ones count now.
    pub async fn end_attempt(
        &self,
        attempt: &Attempt<'_>,
        generation: Version,
        right: bool,
        rows: [&str; 2],
    ) -> Result<usize, StoreError> {
        let call = Call::new(&END_ATTEMPT)
            .key(self.keys.named("meta"))
            .key(self.keys.tries(plain(&END_ATTEMPT, "peer", attempt.peer)?))
            .key(self.keys.named("audit:strangers"))
            .arg(plain(&END_ATTEMPT, "mark", attempt.mark)?)
            .arg(right)
            .arg(generation.0)
            .arg(attempt.limit.most)
            .arg(millis(attempt.limit.window))
            .arg(rows[0])
            .arg(rows[1]);
        let mut fields = self.run(self.timed(call)).await?;
        fields.head()?;
        let count = fields.number("a count")?;
        fields.end()?;
        Ok(count)
    }

    /// Opens a session: until when it lasts without use, and at all, ms since the epoch. `None` when the password was
    /// changed meanwhile.
    pub async fn open_session(&self, new: &NewSession<'_>) -> Result<Option<(i64, i64)>, StoreError> {
        let script = &OPEN_SESSION;
        let row = Row::new(None, || vec![FieldChange::to("session", new.id)]);
        let call = Call::new(script)
            .key(self.keys.named("meta"))
            .key(self.keys.named("sessions"))
            .key(self.keys.named("audit"))
            .arg(new.generation.0)
            .arg(plain(script, "digest", new.digest)?)
            .arg(plain(script, "id", new.id)?)
            .arg(millis(new.idle))
            .arg(millis(new.life))
            .arg(SESSIONS_MAX)
            .arg(&*row.text);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let ends = match code.as_str() {
            "OK" => Some((fields.number("a time")?, fields.number("a time")?)),
            "CHANGED" => None,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if ends.is_some() {
            row.kept();
        }
        Ok(ends)
    }

    /// Ends sessions, everywhere; answers how many.
    pub async fn end_sessions(&self, which: Ending<'_>) -> Result<u64, StoreError> {
        let row = Row::new(None, || vec![FieldChange::to("sessions", 0)]);
        let digest = match which {
            Ending::One(digest) => plain(&END_SESSIONS, "digest", digest)?,
            Ending::All => "*",
        };
        let call = Call::new(&END_SESSIONS)
            .key(self.keys.named("meta"))
            .key(self.keys.named("sessions"))
            .key(self.keys.named("tickets"))
            .key(self.keys.named("audit"))
            .arg(digest)
            .arg(&*row.text)
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let ended = match code.as_str() {
            "OK" => fields.number("a count")?,
            "NONE" => 0,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if code == "OK" {
            row.kept();
        }
        Ok(ended)
    }

    /// Sets the password with that hash, or removes it, if `generation` is still the door's. With the SHA-256 of a setup
    /// token it is done only where that is good.
    pub async fn set_password(
        &self,
        generation: Version,
        hash: Option<&str>,
        token: Option<&str>,
    ) -> Result<SetPassword, StoreError> {
        let script = &SET_PASSWORD;
        let state = if hash.is_some() { "set" } else { "none" };
        // A new one in place of another is a change, too.
        let changes = || {
            let mut changes = vec![FieldChange::to("password", state), FieldChange::to("sessions", 0)];
            changes.extend(hash.is_some().then(|| FieldChange::to("hash", "new")));
            changes
        };
        let row = Row::new(None, changes);
        let call = Call::new(script)
            .key(self.keys.named("meta"))
            .key(self.keys.named("console"))
            .key(self.keys.named("sessions"))
            .key(self.keys.named("tickets"))
            .key(self.keys.named("audit"))
            .arg(generation.0)
            .arg(plain(script, "hash", hash.unwrap_or_default())?)
            .arg(plain(script, "token", token.unwrap_or_default())?)
            .arg(&*row.text)
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let generation = Version(fields.number("a generation")?);
        let outcome = match code.as_str() {
            "OK" => {
                fields.number::<u64>("a count")?;
                row.kept();
                SetPassword::Done(generation)
            }
            "CHANGED" => SetPassword::Changed(generation),
            "TOKEN" => SetPassword::Token,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(outcome)
    }

    /// Remembers the SHA-256 of a setup token; `false` when there is a password already.
    pub async fn put_setup(&self, digest: &str, life: Duration) -> Result<bool, StoreError> {
        let call = Call::new(&PUT_SETUP)
            .key(self.keys.named("meta"))
            .key(self.keys.named("console"))
            .arg(plain(&PUT_SETUP, "token", digest)?)
            .arg(millis(life))
            .arg(SETUPS_MAX);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let kept = match code.as_str() {
            "OK" => true,
            "SET" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(kept)
    }

    /// Remembers the SHA-256 of a ticket for the log stream, and whose it is; answers the store's time, ms since the
    /// epoch.
    pub async fn put_ticket(&self, digest: &str, whose: &str, life: Duration) -> Result<i64, StoreError> {
        let call = Call::new(&PUT_TICKET)
            .key(self.keys.named("meta"))
            .key(self.keys.named("tickets"))
            .arg(plain(&PUT_TICKET, "ticket", digest)?)
            .arg(millis(life))
            .arg(TICKETS_MAX)
            .arg(plain(&PUT_TICKET, "whose", whose)?);
        let mut fields = self.run(self.timed(call)).await?;
        let (_, stamp) = fields.head()?;
        fields.end()?;
        Ok(stamp.now_ms)
    }

    /// Takes the ticket with that SHA-256, which is good once; answers whose it is.
    pub async fn take_ticket(&self, digest: &str) -> Result<Option<String>, StoreError> {
        let call = Call::new(&TAKE_TICKET)
            .key(self.keys.named("meta"))
            .key(self.keys.named("tickets"))
            .arg(plain(&TAKE_TICKET, "ticket", digest)?);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let whose = match code.as_str() {
            "OK" => Some(fields.text("whose it is")?),
            "NONE" => None,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(whose)
    }
}
