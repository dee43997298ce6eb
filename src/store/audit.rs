//! Who does what to a pool, for its audit trail.
//!
//! The work of an operator runs as an [`Entry`] that names its author and action. What it changes in the store is
//! recorded by the script that changes it, so that neither is there without the other; what has no such script is
//! recorded before and after it ([`Trail`]). The entry belongs to the task, as a span does: no call passes it on, so
//! none can forget it. [`carried`] takes it along to another task.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Store;
use super::host::StoreError;

/// Most changes that a record lists; more are counted.
const CHANGES_MAX: usize = 40;
/// Longest text of a record, in characters; a longer one is cut.
const TEXT_MAX: usize = 240;
/// Longest record, in bytes; what changed is counted instead of listed where it would be longer.
const ROW_MAX: usize = 8 * 1024;

tokio::task_local! {
    static ENTRY: Entry;
}

/// When an action gets into the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trail {
    /// In the call that changes the store; one that changed nothing is recorded after it.
    Script,
    /// Before it begins, else it is not done, and after it: it is many calls, or hands secrets out.
    Ahead,
    /// After it, as far as the store answers: it must be possible without the store, or changes nothing there.
    After,
}

/// Something that operators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name in the trail, such as `account.remove`.
    pub name: &'static str,
    /// When it is recorded.
    pub trail: Trail,
}

impl Action {
    /// Recorded by its scripts.
    #[must_use]
    pub const fn scripted(name: &'static str) -> Self {
        Self { name, trail: Trail::Script }
    }

    /// Recorded before and after it.
    #[must_use]
    pub const fn ahead(name: &'static str) -> Self {
        Self { name, trail: Trail::Ahead }
    }

    /// Recorded after it.
    #[must_use]
    pub const fn after(name: &'static str) -> Self {
        Self { name, trail: Trail::After }
    }
}

/// How somebody proved who he is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// By a session of the console; its id, which is no secret.
    Session(String),
    /// By the console's password itself.
    Password,
    /// By calling from the gateway's own machine, where no password is set.
    Local,
    /// By opening the control socket; the user id of the process that did, where the system tells it.
    Control(Option<u32>),
    /// By opening the store itself, with a command; the user id.
    Command(u32),
    /// By a client key; its id.
    Key(String),
    /// By a setup token.
    Setup,
    /// By the state of a sign-in, with which Google sent a browser back.
    Browser,
    /// Not at all.
    Stranger,
}

impl Actor {
    /// The kind of it: `session`, `password`, `local`, `control`, `command`, `key`, `setup`, `browser` or `stranger`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Password => "password",
            Self::Local => "local",
            Self::Control(_) => "control",
            Self::Command(_) => "command",
            Self::Key(_) => "key",
            Self::Setup => "setup",
            Self::Browser => "browser",
            Self::Stranger => "stranger",
        }
    }

    /// Which one of its kind.
    #[must_use]
    pub fn who(&self) -> Option<String> {
        match self {
            Self::Session(id) | Self::Key(id) => Some(id.clone()),
            Self::Control(Some(uid)) | Self::Command(uid) => Some(format!("uid {uid}")),
            _ => None,
        }
    }
}

/// Who does something, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Who.
    pub actor: Actor,
    /// The address it came from, or a machine's name; `None` where it is not known.
    pub from: Option<String>,
    /// The id of the request.
    pub request: Option<String>,
}

/// How far an action came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = AuditOutcome)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It began; what came of it is in a later record of the same request, or it was interrupted.
    Begun,
    /// It was done.
    Done,
    /// It was not done, and nothing was changed.
    Refused,
    /// It failed; parts of it may have been done.
    Failed,
    /// Whatever another version calls it.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One field of what was changed. Never a secret: of those it says only that they changed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct FieldChange {
    /// Its name.
    pub field: String,
    /// What was there; left out where nothing was, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is there; left out where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl FieldChange {
    /// `field` is now `after`.
    #[must_use]
    pub fn to(field: &str, after: impl Into<Value>) -> Self {
        Self { field: field.to_owned(), before: None, after: Some(after.into()) }
    }
}

/// What a record tells besides its place in the trail.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Told {
    /// See [`Actor::kind`].
    pub actor: String,
    /// See [`Actor::who`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// See [`Author::from`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// See [`Action::name`].
    pub action: String,
    /// What it was done to: an address, a key's name, a preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// Changes that are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: usize,
    /// How far it came.
    #[serde(default)]
    pub outcome: Outcome,
    /// The HTTP status that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// See [`Author::request`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Told {
    /// As scripts keep it: one line of JSON within bounds.
    fn text(mut self) -> String {
        let all = self.changes.len();
        self.changes.truncate(CHANGES_MAX);
        for change in &mut self.changes {
            cut(&mut change.field);
            for value in [&mut change.before, &mut change.after].into_iter().flatten() {
                shorten(value);
            }
        }
        for text in [&mut self.target, &mut self.from, &mut self.who].into_iter().flatten() {
            cut(text);
        }
        loop {
            self.omitted = all - self.changes.len();
            // Texts, numbers and what was JSON before always have a form in JSON.
            let text = serde_json::to_string(&self).unwrap_or_default();
            if text.len() <= ROW_MAX || self.changes.is_empty() {
                return text;
            }
            self.changes.truncate(self.changes.len() / 2);
        }
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(end);
        text.push('…');
    }
}

/// A value that is too long becomes the beginning of its text.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => cut(text),
        Value::Array(_) | Value::Object(_) => {
            let mut text = value.to_string();
            if text.chars().nth(TEXT_MAX).is_some() {
                cut(&mut text);
                *value = Value::String(text);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One action of one author, as it goes on. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Entry {
    inner: Arc<Inner>,
}

struct Inner {
    author: Author,
    action: Action,
    target: Option<String>,
    changes: Mutex<Vec<FieldChange>>,
    recorded: AtomicBool,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry").field(&self.inner.action.name).finish()
    }
}

impl Entry {
    /// `author` is about to do `action` to `target`.
    #[must_use]
    pub fn new(author: Author, action: Action, target: Option<String>) -> Self {
        let (changes, recorded) = (Mutex::default(), AtomicBool::default());
        Self { inner: Arc::new(Inner { author, action, target, changes, recorded }) }
    }

    /// Whether a script has recorded it.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.inner.recorded.load(Ordering::Relaxed)
    }

    fn tell(&self, change: FieldChange) {
        let mut changes = self.inner.changes.lock().unwrap_or_else(PoisonError::into_inner);
        match changes.iter_mut().find(|known| known.field == change.field) {
            Some(known) => *known = change,
            None => changes.push(change),
        }
    }

    fn told(&self, outcome: Outcome, status: Option<u16>) -> Told {
        let Inner { author, action, target, changes, .. } = &*self.inner;
        Told {
            actor: author.actor.kind().to_owned(),
            who: author.actor.who(),
            from: author.from.clone(),
            action: action.name.to_owned(),
            target: target.clone(),
            changes: changes.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            omitted: 0,
            outcome,
            status,
            request: author.request.clone(),
        }
    }

    /// The same for the log, which names accounts by their ids only and has no room for values.
    fn log(&self) {
        let Inner { author: Author { actor, from, .. }, action, target, .. } = &*self.inner;
        let on = target.as_deref().filter(|target| !target.contains('@'));
        tracing::info!(
            target: "antigravity_proxy::audit", action = action.name, actor = actor.kind(), who = actor.who(), from, on,
            "{} is done", action.name
        );
    }

    /// A record of it for a script to append, of that outcome.
    #[must_use]
    pub fn row(&self, outcome: Outcome) -> String {
        self.told(outcome, None).text()
    }
}

/// Adds to the entry of this task what changes, where there is one; replaces what was said of the same field.
pub fn tell(change: FieldChange) {
    // Background work has no entry.
    let _ = ENTRY.try_with(|entry| entry.tell(change));
}

/// `work` in another task, as part of the entry of this one.
pub fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let entry = ENTRY.try_with(Clone::clone).ok();
    async move {
        match entry {
            Some(entry) => ENTRY.scope(entry, work).await,
            None => work.await,
        }
    }
}

/// A record as an argument of a script that changes something: empty where nobody asked for it.
pub(super) struct Row {
    entry: Option<Entry>,
    /// For the script.
    pub(super) text: String,
}

impl Row {
    /// Of a change of `target` that consists of `changes`, besides what the entry was told of. Of an action that is
    /// recorded ahead, whose calls may be many, there is none.
    pub(super) fn new(target: Option<&str>, changes: impl FnOnce() -> Vec<FieldChange>) -> Self {
        let entry = ENTRY.try_with(Clone::clone).ok();
        Self::of(entry.filter(|entry| entry.inner.action.trail == Trail::Script), target, changes)
    }

    /// The same for a change that every action makes once at most: it is always recorded.
    pub(super) fn single(target: Option<&str>, changes: impl FnOnce() -> Vec<FieldChange>) -> Self {
        Self::of(ENTRY.try_with(Clone::clone).ok(), target, changes)
    }

    fn of(entry: Option<Entry>, target: Option<&str>, changes: impl FnOnce() -> Vec<FieldChange>) -> Self {
        let text = entry.as_ref().map(|entry| {
            let mut told = entry.told(Outcome::Done, None);
            if let Some(target) = target {
                told.target = Some(target.to_owned());
            }
            for change in changes() {
                if !told.changes.iter().any(|known| known.field == change.field) {
                    told.changes.push(change);
                }
            }
            told.text()
        });
        Self { text: text.unwrap_or_default(), entry }
    }

    /// The script has made the change, and recorded it.
    pub(super) fn kept(&self) {
        if let Some(entry) = &self.entry {
            entry.inner.recorded.store(true, Ordering::Relaxed);
        }
    }
}

impl Store {
    /// Does `work` as `entry` and records it. `outcome` says what came of it, with the HTTP status where there is one;
    /// `None` is nothing to record.
    ///
    /// # Errors
    ///
    /// The trail does not take the record of its beginning, so it was not begun.
    pub async fn recorded<T>(
        &self,
        entry: Entry,
        work: impl Future<Output = T>,
        outcome: impl FnOnce(&T) -> Option<(Outcome, Option<u16>)>,
    ) -> Result<T, StoreError> {
        let trail = entry.inner.action.trail;
        if trail == Trail::Ahead {
            self.append_audit(&entry.told(Outcome::Begun, None).text()).await?;
        }
        let done = ENTRY.scope(entry.clone(), work).await;
        let Some((outcome, status)) = outcome(&done) else { return Ok(done) };
        if outcome == Outcome::Done {
            entry.log();
        }
        if trail == Trail::Script && entry.is_recorded() && outcome == Outcome::Done {
            return Ok(done);
        }
        let row = entry.told(outcome, status).text();
        if let Err(error) = self.append_audit(&row).await {
            // The log has it at least.
            tracing::error!(target: "antigravity_proxy::audit", %error, record = row, "not in the audit trail");
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(action: Action) -> Entry {
        let author =
            Author { actor: Actor::Session("ab12".into()), from: Some("192.0.2.1".into()), request: None };
        Entry::new(author, action, Some("t".into()))
    }

    #[test]
    fn records_are_one_line_within_bounds() {
        let entry = entry(Action::scripted("settings.change"));
        for number in 0..50 {
            entry.tell(FieldChange::to(&format!("f{number}"), "x\n\u{1f}"));
        }
        entry.tell(FieldChange::to("f0", json!({ "long": "y".repeat(500) })));
        let text = entry.row(Outcome::Done);
        assert!(text.len() <= ROW_MAX && !text.contains(|c: char| c.is_control()), "{text}");
        let told: Told = serde_json::from_str(&text).unwrap();
        assert_eq!((told.changes.len(), told.omitted), (40, 10));
        assert!(told.changes[0].after.as_ref().unwrap().as_str().unwrap().starts_with("{\"long\":\"yyy"));
        for number in 0..50 {
            entry.tell(FieldChange::to(&format!("f{number}"), "x\n\u{1f}".repeat(500)));
        }
        let longer = entry.row(Outcome::Done);
        let cut: Told = serde_json::from_str(&longer).unwrap();
        assert!(longer.len() <= ROW_MAX && !cut.changes.is_empty(), "{}", longer.len());
        assert_eq!(cut.changes.len() + cut.omitted, 50);
        assert!(cut.changes[0].after.as_ref().unwrap().as_str().unwrap().ends_with('…'));
        assert_eq!((told.actor.as_str(), told.who.as_deref()), ("session", Some("ab12")));
    }

    #[test]
    fn another_versions_outcome_is_read() {
        let told: Told =
            serde_json::from_str(r#"{"actor":"x","action":"y","outcome":"halfway","new":1}"#).unwrap();
        assert_eq!(told.outcome, Outcome::Unknown);
    }

    #[tokio::test]
    async fn an_entry_belongs_to_its_task_and_may_be_carried_on() {
        let text = || Row::new(Some("a"), || vec![FieldChange::to("x", 1)]).text;
        assert_eq!(text(), "", "nobody's");
        let work = async {
            tell(FieldChange::to("x", 2));
            let own = text();
            let carried = carried(async { Row::new(None, Vec::new).text });
            let elsewhere = std::thread::spawn(text).join().unwrap();
            (own, elsewhere, carried.await)
        };
        let (own, elsewhere, carried) = ENTRY.scope(entry(Action::scripted("s")), work).await;
        let own: Told = serde_json::from_str(&own).unwrap();
        assert_eq!((own.target.as_deref(), &own.changes), (Some("a"), &vec![FieldChange::to("x", 2)]));
        assert_eq!(elsewhere, "");
        assert_eq!(serde_json::from_str::<Told>(&carried).unwrap().target.as_deref(), Some("t"));
        // What is recorded ahead is not recorded by each of its calls.
        assert_eq!(ENTRY.scope(entry(Action::ahead("s")), async { text() }).await, "");
    }
}
