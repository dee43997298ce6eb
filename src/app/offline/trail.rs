//! The audit trail of commands that open the store themselves.

use crate::app::presence::host;
use crate::store::Store;
use crate::store::audit::{Action, Actor, Author, Entry, Outcome};

/// Does `work` on `store` as the user who called the command, and records it.
pub(super) fn recorded<'a, T: 'a>(
    store: &'a Store,
    action: Action,
    target: Option<&str>,
    work: impl Future<Output = anyhow::Result<T>> + 'a,
) -> impl Future<Output = anyhow::Result<T>> + 'a {
    let author = Author { actor: Actor::Command(user()), from: Some(host()), request: None };
    let entry = Entry::new(author, action, target.map(str::to_owned));
    let outcome =
        |done: &anyhow::Result<T>| Some((if done.is_ok() { Outcome::Done } else { Outcome::Failed }, None));
    // Commands are large, and done once.
    let work = Box::pin(work);
    async move { store.recorded(entry, work, outcome).await? }
}

#[cfg(unix)]
fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

#[cfg(not(unix))]
fn user() -> u32 {
    0
}
