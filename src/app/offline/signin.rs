//! A sign-in that a command conducts on the store itself.

use secrecy::SecretString;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::recorded;
use crate::account::directory::DirectoryError;
use crate::account::signin::SignInError;
use crate::app::parts::Opened;
use crate::app::signin::Desk;
use crate::clock::Clock;
use crate::config::Config;
use crate::server::answer::Answer;
use crate::store::audit::Action;
use crate::webui::signin::completed;

/// The store, open from the beginning of a sign-in to its end, with the listener for the browser that comes back. An
/// embedded store belongs to the command for so long: no gateway can start on it meanwhile.
pub struct SignInSession {
    desk: Desk,
    tasks: TaskTracker,
    stop: CancellationToken,
    opened: Opened,
}

impl SignInSession {
    /// Opens the store.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let opened = Opened::new(config, &clock, None).await?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let desk = Desk::new(&opened, config, clock, true, tasks.clone(), stop.clone())?;
        Ok(Self { desk, tasks, stop, opened })
    }

    /// As `GET /api/auth/url`.
    pub async fn begin(&self, expected: Option<&str>) -> anyhow::Result<Value> {
        let work = async { self.desk.begin(expected).await.map_err(plain) };
        let begun = recorded(&self.opened.store, Action::after("signin.begin"), expected, work).await?;
        Ok(Answer::new(begun).into_value())
    }

    /// As `POST /api/auth/complete`.
    pub async fn complete(&self, state: &str, input: &SecretString) -> anyhow::Result<Value> {
        let work = async { self.desk.complete(state, input).await.map_err(plain) };
        let done = recorded(&self.opened.store, Action::scripted("signin.complete"), None, work).await?;
        Ok(completed(done).into_value())
    }

    /// As `GET /api/auth/status`.
    pub async fn status(&self, state: &str) -> anyhow::Result<Value> {
        Ok(Answer::new(self.desk.status(state).await.map_err(plain)?).into_value())
    }

    /// Ends the listener; the page that a browser waits for is still sent.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The store's own error, where it is one: its kind decides the exit code.
fn plain(error: SignInError) -> anyhow::Error {
    match error {
        SignInError::Store(error) | SignInError::Directory(DirectoryError::Store(error)) => error.into(),
        error => error.into(),
    }
}
