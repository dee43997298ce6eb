//! The console's door: its password, and the sessions that the password opens (spec `http-api.md` §1.5.3, §2.2).
//!
//! Both belong to the pool. One call of the store says whether a session is in force, how far a peer may try passwords
//! and whether the password is another one; what it said holds for a second, and ends at once with the pool's event, so
//! a log-out is in force everywhere within two. A password that the configuration gives closes the door instead of the
//! stored one. While the store is away, what was known last stays in force for a while.

mod attempts;
mod hashing;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use self::attempts::Attempts;
use self::hashing::{Hashing, HashingError};
use super::client_keys::{KeyDigest, new_secret};
use super::vault::{Vault, VaultError};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::audit::{Action, Actor, Author, Entry, Outcome};
use crate::store::host::StoreError;
use crate::store::ident::Version;
use crate::store::ops::PoolEvent;
use crate::store::ops::console::{
    Attempt, Door, Ending, MayTry, NewSession, SetPassword, StoredSession, TryLimit,
};

/// What session tokens begin with, so that scanners of leaked secrets know them.
pub const SESSION_PREFIX: &str = "agps_";
/// What setup tokens begin with.
const SETUP_PREFIX: &str = "agp_setup_";
/// What tickets for the log stream begin with.
const TICKET_PREFIX: &str = "agp_ticket_";
/// How long a session lasts without use.
pub const SESSION_IDLE: Duration = Duration::from_hours(12);
/// How long a session lasts at all.
pub const SESSION_LIFE: Duration = Duration::from_hours(7 * 24);
/// How long a ticket is good.
pub const TICKET_LIFE: Duration = Duration::from_mins(1);
/// How long a setup token is good.
pub const SETUP_LIFE: Duration = Duration::from_hours(24);
/// Different wrong credentials that one peer may try, and in which time (spec §2.2).
pub const LIMIT: TryLimit = TryLimit { most: 5, window: Duration::from_mins(1) };
/// Shortest password, in characters, and the one below which there is a warning (spec §1.5.3).
const SHORTEST: usize = 6;
const WEAK: usize = 12;
/// Longest password, in bytes.
const LONGEST: usize = 1024;
/// How long what the store said holds, should the event of a change be lost.
const FRESH: Duration = Duration::from_secs(1);
/// How long an accepted password is known again without its hash (spec §2.2).
const ACCEPTED: Duration = Duration::from_mins(5);
/// How long a session stays in force that the store cannot be asked about.
const GRACE: Duration = Duration::from_mins(5);
/// Sessions and accepted passwords remembered at once.
const REMEMBERED: usize = 1024;
/// How often a change is made anew because others make some at the same moment.
const CHANGE_TRIES: usize = 4;
/// What marks of credentials are for.
const MARKS: &str = "console";

/// Who stands at the door.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// What tries are counted by: an address or network; no control characters.
    pub group: &'a str,
    /// Its address, for the audit trail.
    pub from: Option<&'a str>,
    /// The id of its request.
    pub request: Option<&'a str>,
}

/// What became of a password that somebody tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It is right, for the door of that generation.
    Right(Version),
    /// It is wrong.
    Wrong,
    /// The visitor has tried too many; it may go on after this.
    Blocked(Duration),
    /// No password closes the door.
    Open,
}

/// A session that is in force; times in ms since the epoch, by the store's clock.
pub type Session = StoredSession;

/// A session that has just been opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What proves it; nobody can read it again.
    pub token: SecretString,
    /// The session.
    pub session: Session,
}

/// A ticket for the log stream.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Good once.
    pub ticket: SecretString,
    /// When it ends, ms since the epoch, by the store's clock.
    pub ends_ms: i64,
}

/// By what right the password is changed.
#[derive(Clone, Copy, Debug)]
pub enum Right<'a> {
    /// The caller owns the gateway: the control socket, or the store itself.
    Owner,
    /// The caller knew the password, of the door of that generation.
    Known(Version),
    /// There is none yet, and the caller is on the gateway's own machine.
    First,
    /// There is none yet, and the caller has a setup token.
    Setup(&'a str),
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// It comes from the configuration.
    #[error("Password is set by environment")]
    Pinned,
    /// It is too short.
    #[error("Password must be at least {SHORTEST} characters")]
    Short,
    /// It is too long.
    #[error("Password must be at most {LONGEST} bytes")]
    Long,
    /// There is one, which has to be proved.
    #[error("A password is set already: give it as oldPassword")]
    Set,
    /// There is none.
    #[error("No password is set")]
    NotSet,
    /// The setup token is not good.
    #[error(
        "The setup token is wrong, has expired, or a password was set meanwhile; each gateway prints one when it \
         starts, good for a day"
    )]
    Token,
    /// Others change it at the same moment.
    #[error("The password was changed by somebody else at the same time; try again")]
    Contended,
    /// Too many passwords are being checked.
    #[error("Too many passwords are being checked; try again")]
    Busy,
    /// The system gives no randomness, or hashing failed.
    #[error("a secret could not be made")]
    Failed,
    /// No key to make marks with.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store refused, or does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<HashingError> for ConsoleError {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Busy => Self::Busy,
            HashingError::Failed => Self::Failed,
        }
    }
}

/// The door as this process knows it. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Console {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    vault: Arc<Vault>,
    clock: Clock,
    pinned: Option<KeyDigest>,
    known: Mutex<Known>,
    sessions: Mutex<HashMap<KeyDigest, Seen>>,
    accepted: Mutex<HashMap<KeyDigest, Accepted>>,
    attempts: Attempts,
    hashing: Hashing,
    /// Counts what may have changed everything: events.
    events: AtomicU64,
    /// What passwords are remembered by: keyed, so that a copy of this memory tells none.
    salt: Zeroizing<[u8; 32]>,
}

/// When the store was asked, and after how many events.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    events: u64,
}

#[derive(Clone, Default)]
struct Known {
    generation: Option<Version>,
    hash: Option<Arc<SecretString>>,
    asked: Option<Asked>,
}

/// A session that was in force when the store was asked.
#[derive(Clone)]
struct Seen {
    session: Session,
    asked: Asked,
    left: Duration,
}

/// A password that was right.
#[derive(Clone, Copy)]
struct Accepted {
    generation: Version,
    asked: Asked,
    until: Instant,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("pinned", &self.is_pinned()).finish_non_exhaustive()
    }
}

impl Console {
    /// The door of `store`; `pinned` is the password of the configuration, an empty one is none. `vault` makes marks of
    /// what is tried.
    #[must_use]
    pub fn new(store: Store, vault: Arc<Vault>, pinned: Option<&SecretString>, clock: Clock) -> Self {
        let pinned = pinned.map(ExposeSecret::expose_secret).filter(|password| !password.is_empty());
        let mut salt = Zeroizing::new([0; 32]);
        if getrandom::fill(salt.as_mut_slice()).is_err() {
            // Then every password is hashed each time: see `slot`.
            tracing::warn!("the system gives no randomness: no password is remembered");
        }
        let inner = Inner {
            store,
            vault,
            pinned: pinned.map(|password| KeyDigest::of(password.as_bytes())),
            known: Mutex::default(),
            sessions: Mutex::default(),
            accepted: Mutex::default(),
            attempts: Attempts::new(clock.clone(), LIMIT),
            hashing: Hashing::new(),
            events: AtomicU64::new(0),
            salt,
            clock,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The pool that it is the door of.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Whether the configuration gives the password.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.inner.pinned.is_some()
    }

    /// Counts what was done to the password, as far as it is known without asking.
    #[must_use]
    pub fn generation(&self) -> Option<Version> {
        self.known().generation
    }

    /// Whether a password closed the door when it was looked at last.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.is_pinned() || self.known().hash.is_some()
    }

    /// Whether a password closes the door now; while the store is away, whether one did.
    pub async fn is_closed(&self) -> bool {
        if !self.is_pinned()
            && !self.known().asked.is_some_and(|asked| self.is_fresh(asked))
            && let Err(error) = self.load().await
        {
            tracing::debug!(%error, "the console's password could not be looked at; what was known holds");
        }
        self.has_password()
    }

    /// Looks at the door.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn load(&self) -> Result<(), StoreError> {
        let asked = self.ask();
        let known = self.known().generation;
        let checked = self.inner.store.check_session(known, None, None).await?;
        self.take(asked, checked.door);
        Ok(())
    }

    /// Notices changes until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let channel = self.inner.store.keys().channel();
        let mut events = self.inner.store.subscribe();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                Ok(event) => {
                    let news = PoolEvent::parse(&channel, &event);
                    if matches!(news, Some(PoolEvent::Console | PoolEvent::Gap)) {
                        self.forget();
                    }
                }
                Err(RecvError::Lagged(_)) => self.forget(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// The session of `token`, if it is in force; its use extends it.
    ///
    /// # Errors
    ///
    /// The store has to be asked and does not answer.
    pub async fn session(&self, token: &[u8]) -> Result<Option<Session>, StoreError> {
        self.look(KeyDigest::of(token), Some(SESSION_IDLE)).await
    }

    /// As [`Self::session`], by the digest of its token and without extending it.
    pub async fn session_of(&self, digest: KeyDigest) -> Result<Option<Session>, StoreError> {
        self.look(digest, None).await
    }

    async fn look(&self, digest: KeyDigest, idle: Option<Duration>) -> Result<Option<Session>, StoreError> {
        let seen = lock(&self.inner.sessions).get(&digest).cloned();
        let now = self.inner.clock.instant();
        let age = |seen: &Seen| now.saturating_duration_since(seen.asked.at);
        if let Some(seen) = seen.as_ref().filter(|seen| self.is_fresh(seen.asked) && age(seen) < seen.left) {
            return Ok(Some(seen.session.clone()));
        }
        let asked = self.ask();
        let known = self.known().generation;
        let checked = match self.inner.store.check_session(known, Some(&digest.to_hex()), idle).await {
            Ok(checked) => checked,
            Err(error) => {
                let seen = seen.filter(|seen| age(seen) < GRACE.min(seen.left) && is_away(&error));
                return seen.map(|seen| Some(seen.session)).ok_or(error);
            }
        };
        self.take(asked, checked.door);
        let mut sessions = lock(&self.inner.sessions);
        let Some(session) = checked.session else {
            sessions.remove(&digest);
            return Ok(None);
        };
        let ends_ms = session.ends_ms.min(session.idle_ends_ms);
        let left = u64::try_from(ends_ms.saturating_sub(checked.now_ms)).unwrap_or_default();
        make_room(&mut sessions, |seen| age(seen) < GRACE);
        let seen = Seen { session: session.clone(), asked, left: Duration::from_millis(left) };
        sessions.insert(digest, seen);
        Ok(Some(session))
    }

    /// Tries `credential` as the password.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Busy`], or what the store refused.
    pub async fn password(&self, credential: &[u8], visitor: &Visitor<'_>) -> Result<Tried, ConsoleError> {
        // What the try is answered tells of a door that was closed.
        if !self.has_password() && !self.is_closed().await {
            return Ok(Tried::Open);
        }
        let asked = self.ask();
        let slot = self.slot(visitor.group, credential);
        let accepted = lock(&self.inner.accepted).get(&slot).copied().filter(|one| one.until > asked.at);
        let known = self.known().generation;
        let accepted = accepted.filter(|one| Some(one.generation) == known);
        if let Some(one) = accepted.filter(|one| self.is_fresh(one.asked)) {
            return Ok(Tried::Right(one.generation));
        }
        let mark = self.mark(credential)?;
        let attempt = Attempt { peer: visitor.group, mark: &mark, limit: LIMIT };
        let (door, may) = match self.inner.store.begin_attempt(&attempt, known, accepted.is_some()).await {
            Ok(answer) => answer,
            Err(error) if is_away(&error) => {
                return self.password_alone(credential, accepted, &attempt).await;
            }
            Err(error) => return Err(error.into()),
        };
        let stays = door.news.is_none();
        self.take(asked, door);
        match (may, accepted) {
            (MayTry::Blocked(wait), _) => return Ok(Tried::Blocked(wait)),
            (MayTry::Wrong, _) => return Ok(Tried::Wrong),
            (MayTry::Go, Some(one)) if stays => {
                self.accept(slot, Accepted { asked, ..one });
                return Ok(Tried::Right(one.generation));
            }
            (MayTry::Go, _) => {}
        }
        let known = self.known();
        let generation = known.generation.unwrap_or_default();
        let verified = self.verify(credential, &known).await;
        // What could not be checked was no try.
        let harmless = !matches!(verified, Ok(Some(false)));
        let rows = [visitor.row("login.failed"), visitor.row("login.locked")];
        let ended = self.inner.store.end_attempt(&attempt, generation, harmless, [&rows[0], &rows[1]]).await;
        if let Err(error) = ended {
            tracing::debug!(%error, "what came of a password could not be kept");
            if !harmless {
                self.inner.attempts.record(visitor.group, &mark);
            }
        }
        match verified? {
            None => Ok(Tried::Open),
            Some(false) => Ok(Tried::Wrong),
            Some(true) => {
                self.accept(slot, Accepted { generation, asked, until: asked.at + ACCEPTED });
                Ok(Tried::Right(generation))
            }
        }
    }

    /// The same while the store is away: by what is known, and by what was tried here.
    async fn password_alone(
        &self,
        credential: &[u8],
        accepted: Option<Accepted>,
        attempt: &Attempt<'_>,
    ) -> Result<Tried, ConsoleError> {
        if let Some(wait) = self.inner.attempts.blocked(attempt.peer) {
            return Ok(Tried::Blocked(wait));
        }
        if let Some(one) = accepted {
            return Ok(Tried::Right(one.generation));
        }
        let known = self.known();
        match self.verify(credential, &known).await? {
            None => Ok(Tried::Open),
            Some(true) => Ok(Tried::Right(known.generation.unwrap_or_default())),
            Some(false) => {
                self.inner.attempts.record(attempt.peer, attempt.mark);
                Ok(Tried::Wrong)
            }
        }
    }

    /// Opens a session for one who knew the password of the door of that generation; `None` when it is another one by
    /// now.
    pub async fn open(&self, generation: Version) -> Result<Option<Opened>, ConsoleError> {
        let token = new_secret(SESSION_PREFIX).ok_or(ConsoleError::Failed)?;
        let digest = digest(&token);
        let id = &digest[..12];
        let new = NewSession { generation, digest: &digest, id, idle: SESSION_IDLE, life: SESSION_LIFE };
        let Some((idle_ends_ms, ends_ms)) = self.inner.store.open_session(&new).await? else {
            return Ok(None);
        };
        let begun_ms = ends_ms.saturating_sub(i64::try_from(SESSION_LIFE.as_millis()).unwrap_or_default());
        let session = Session { id: id.to_owned(), begun_ms, idle_ends_ms, ends_ms };
        Ok(Some(Opened { token, session }))
    }

    /// Ends the session of `token`; `false` when there is none.
    pub async fn end(&self, token: &[u8]) -> Result<bool, StoreError> {
        let ended = self.inner.store.end_sessions(Ending::One(&KeyDigest::of(token).to_hex())).await?;
        self.forget();
        Ok(ended > 0)
    }

    /// Ends all sessions; answers how many.
    pub async fn end_all(&self) -> Result<u64, StoreError> {
        let ended = self.inner.store.end_sessions(Ending::All).await?;
        self.forget();
        Ok(ended)
    }

    /// Sets the password, or removes it with `None`; all sessions end.
    pub async fn set_password(
        &self,
        new: Option<&SecretString>,
        right: Right<'_>,
    ) -> Result<(), ConsoleError> {
        if self.is_pinned() {
            return Err(ConsoleError::Pinned);
        }
        let hash = match new {
            Some(new) => {
                check_rules(new)?;
                Some(self.inner.hashing.hash(new).await?)
            }
            None => None,
        };
        let token = match right {
            Right::Setup(token) => Some(KeyDigest::of(token.as_bytes()).to_hex()),
            _ => None,
        };
        for _ in 0..CHANGE_TRIES {
            self.load().await?;
            let known = self.known();
            let generation = match right {
                Right::Known(generation) => generation,
                Right::First if known.hash.is_some() => return Err(ConsoleError::Set),
                Right::Owner | Right::First | Right::Setup(_) => known.generation.unwrap_or_default(),
            };
            if hash.is_none() && known.hash.is_none() {
                return Err(ConsoleError::NotSet);
            }
            match self.inner.store.set_password(generation, hash.as_deref(), token.as_deref()).await? {
                SetPassword::Done(_) => {
                    self.forget();
                    return Ok(self.load().await?);
                }
                SetPassword::Token => return Err(ConsoleError::Token),
                SetPassword::Changed(_) if matches!(right, Right::Known(_)) => break,
                SetPassword::Changed(_) => {}
            }
        }
        Err(ConsoleError::Contended)
    }

    /// A setup token, good on every replica; `None` where there is a password.
    pub async fn setup_token(&self) -> Result<Option<SecretString>, ConsoleError> {
        if self.is_closed().await {
            return Ok(None);
        }
        let token = new_secret(SETUP_PREFIX).ok_or(ConsoleError::Failed)?;
        let kept = self.inner.store.put_setup(&digest(&token), SETUP_LIFE).await?;
        Ok(kept.then_some(token))
    }

    /// A ticket that opens an event stream once, for whoever has the session of this digest, or came in without one.
    pub async fn ticket(&self, session: Option<KeyDigest>) -> Result<Ticket, ConsoleError> {
        let whose = session.map(KeyDigest::to_hex).unwrap_or_default();
        let ticket = new_secret(TICKET_PREFIX).ok_or(ConsoleError::Failed)?;
        let now_ms = self.inner.store.put_ticket(&digest(&ticket), &whose, TICKET_LIFE).await?;
        let life = i64::try_from(TICKET_LIFE.as_millis()).unwrap_or_default();
        Ok(Ticket { ticket, ends_ms: now_ms.saturating_add(life) })
    }

    /// Takes a ticket: the digest of the session that asked for it, if any, where the ticket is good.
    pub async fn take_ticket(&self, ticket: &str) -> Result<Option<Option<KeyDigest>>, StoreError> {
        // What cannot be one costs no call.
        if !ticket.starts_with(TICKET_PREFIX) {
            return Ok(None);
        }
        let whose = self.inner.store.take_ticket(&KeyDigest::of(ticket.as_bytes()).to_hex()).await?;
        Ok(whose.map(|whose| KeyDigest::from_hex(&whose)))
    }

    /// Whether `credential` is the password of `known`; `None` where there is none.
    async fn verify(&self, credential: &[u8], known: &Known) -> Result<Option<bool>, HashingError> {
        match (self.inner.pinned, &known.hash) {
            (Some(pinned), _) => Ok(Some(pinned == KeyDigest::of(credential))),
            (None, Some(_)) if credential.len() > LONGEST => Ok(Some(false)),
            (None, Some(hash)) => self.inner.hashing.verify(credential, Arc::clone(hash)).await.map(Some),
            (None, None) => Ok(None),
        }
    }

    /// A mark of the credential for the store. What is wrong for one configured password may be right for another.
    fn mark(&self, credential: &[u8]) -> Result<String, VaultError> {
        let mut text =
            Zeroizing::new(self.inner.pinned.map(KeyDigest::to_hex).unwrap_or_default().into_bytes());
        text.push(0);
        text.extend_from_slice(credential);
        self.inner.vault.mark(MARKS, &text)
    }

    /// Where an accepted password is remembered.
    fn slot(&self, group: &str, credential: &[u8]) -> KeyDigest {
        let mut text = Zeroizing::new(self.inner.salt.to_vec());
        text.extend_from_slice(&(group.len() as u64).to_be_bytes());
        text.extend_from_slice(group.as_bytes());
        text.extend_from_slice(&Sha256::digest(credential));
        KeyDigest::of(&text)
    }

    fn accept(&self, slot: KeyDigest, accepted: Accepted) {
        if *self.inner.salt == [0; 32] {
            return;
        }
        let now = self.inner.clock.instant();
        let mut all = lock(&self.inner.accepted);
        make_room(&mut all, |one| one.until > now);
        all.insert(slot, accepted);
    }

    fn ask(&self) -> Asked {
        Asked { at: self.inner.clock.instant(), events: self.inner.events.load(Ordering::Acquire) }
    }

    fn is_fresh(&self, asked: Asked) -> bool {
        asked.events == self.inner.events.load(Ordering::Acquire)
            && self.inner.clock.instant().saturating_duration_since(asked.at) < FRESH
    }

    /// Everything has to be asked anew.
    fn forget(&self) {
        self.inner.events.fetch_add(1, Ordering::AcqRel);
    }

    fn known(&self) -> Known {
        lock(&self.inner.known).clone()
    }

    /// Takes over what the store answered to what was asked then.
    fn take(&self, asked: Asked, door: Door) {
        let mut known = lock(&self.inner.known);
        match door.news {
            Some(hash) => {
                if known.generation.is_some_and(|generation| generation != door.generation) {
                    tracing::info!(generation = %door.generation, set = hash.is_some(), "console password taken over");
                }
                let (generation, hash) = (Some(door.generation), hash.map(Arc::new));
                *known = Known { generation, hash, asked: Some(asked) };
            }
            // Another answer may have been quicker.
            None if known.generation == Some(door.generation) => known.asked = Some(asked),
            None => {}
        }
    }
}

impl Visitor<'_> {
    /// A record of what it did for the audit trail.
    fn row(&self, action: &'static str) -> String {
        let author = Author {
            actor: Actor::Stranger,
            from: self.from.map(str::to_owned),
            request: self.request.map(str::to_owned),
        };
        Entry::new(author, Action::after(action), None).row(Outcome::Refused)
    }
}

/// Whether it is a good password; logs where it is a weak one.
fn check_rules(new: &SecretString) -> Result<(), ConsoleError> {
    let new = new.expose_secret();
    if new.len() > LONGEST {
        return Err(ConsoleError::Long);
    }
    match new.chars().count() {
        ..SHORTEST => Err(ConsoleError::Short),
        SHORTEST..WEAK => {
            tracing::warn!("the console's new password has fewer than {WEAK} characters");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn digest(token: &SecretString) -> String {
    KeyDigest::of(token.expose_secret().as_bytes()).to_hex()
}

/// Whether the store could not be asked.
fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { .. } | StoreError::ReadOnly { .. })
}

/// Forgets what is of no use any more, and if that is not enough, everything.
fn make_room<K: Eq + Hash, V>(remembered: &mut HashMap<K, V>, useful: impl Fn(&V) -> bool) {
    if remembered.len() >= REMEMBERED {
        remembered.retain(|_, one| useful(one));
    }
    if remembered.len() >= REMEMBERED {
        remembered.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
