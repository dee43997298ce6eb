//! `accounts add | reauth`: signing in from a terminal, or from a script.
//!
//! The browser may come back by itself, to whoever listens for it, or its owner pastes the address it ended on; both are
//! waited for at the same time. Through the running gateway where there is one, else on the store itself.

use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::backend::{Backend, call, percent_encode};
use super::exit::{Exit, Unavailable};
use super::output;
use crate::app::offline::signin::SignInSession;
use crate::config::Loaded;

/// Pause between two looks at the sign-in.
const LOOK: Duration = Duration::from_millis(500);
/// How many looks in a row may find nobody: a gateway may restart meanwhile.
const PATIENCE: u32 = 120;

const NOT_CONFIGURED: &str = "\
accounts sign in through your own OAuth client, and none is configured. Create one at \
https://console.cloud.google.com/apis/credentials (type: desktop application), set OAUTH_CLIENT_ID and \
OAUTH_CLIENT_SECRET (or oauth.clientId and oauth.clientSecret in the configuration file) where the gateway runs, and \
restart it";

/// How an account is to be signed in.
#[derive(Debug)]
pub(super) struct Options {
    /// The account that must come of it.
    pub(super) email: Option<String>,
    /// Whether that account must be in the pool already.
    pub(super) known: bool,
    /// Whether a browser may be opened.
    pub(super) browser: bool,
    /// Whether the outcome is printed as JSON.
    pub(super) json: bool,
}

/// Who conducts the sign-in.
enum Session<'b> {
    Control(&'b std::path::PathBuf),
    Own(Box<SignInSession>),
}

impl Session<'_> {
    async fn begin(&self, email: Option<&str>) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let query = email.map(|email| format!("?email={}", percent_encode(email)));
                let path = format!("/api/auth/url{}", query.unwrap_or_default());
                call(socket, Method::POST, &path, Bytes::new()).await
            }
            Self::Own(session) => session.begin(email).await,
        }
    }

    async fn complete(&self, state: &str, input: &str) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let body = json!({ "state": state, "callbackInput": input }).to_string();
                call(socket, Method::POST, "/api/auth/complete", body.into()).await
            }
            Self::Own(session) => session.complete(state, &SecretString::from(input)).await,
        }
    }

    async fn status(&self, state: &str) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let path = format!("/api/auth/status?state={}", percent_encode(state));
                call(socket, Method::GET, &path, Bytes::new()).await
            }
            Self::Own(session) => session.status(state).await,
        }
    }

    async fn close(self) {
        if let Self::Own(session) = self {
            session.close().await;
        }
    }
}

/// Signs an account in.
pub(super) async fn add(loaded: &Loaded, backend: &Backend<'_>, options: &Options) -> anyhow::Result<Exit> {
    let oauth = &loaded.config.oauth;
    let configured = match backend.socket() {
        Some(socket) => call(socket, Method::GET, "/api/status", Bytes::new()).await?["oauthClient"] == true,
        None => oauth.client_id.is_some() && oauth.client_secret.is_some(),
    };
    if !configured {
        output::complain(NOT_CONFIGURED);
        return Ok(Exit::Usage);
    }
    if let Some(email) = options.email.as_deref().filter(|_| options.known) {
        let listed = backend.list().await?;
        let mut accounts = listed["accounts"].as_array().into_iter().flatten();
        let known = accounts
            .any(|account| account["email"].as_str().is_some_and(|one| one.eq_ignore_ascii_case(email)));
        anyhow::ensure!(known, "Account {email} not found; `accounts add` signs a new one in");
    }
    let session = match backend.socket() {
        Some(socket) => Session::Control(socket),
        None => Session::Own(Box::new(SignInSession::open(&loaded.config).await?)),
    };
    let outcome = conduct(&session, options).await;
    session.close().await;
    let done = outcome?;
    let email = done["email"].as_str().unwrap_or_default();
    if options.json {
        let answer = json!({ "status": "ok", "email": email, "reauth": done["reauth"] });
        output::line(&serde_json::to_string_pretty(&answer)?)?;
    } else {
        let mark = if done["reauth"] == true { "renewed" } else { "added" };
        output::line(&format!("{mark:8} {email}"))?;
    }
    Ok(Exit::Ok)
}

/// From the first word to the account: the status of the completed sign-in.
async fn conduct(session: &Session<'_>, options: &Options) -> anyhow::Result<Value> {
    let begun = session.begin(options.email.as_deref()).await?;
    let text = |key: &str| begun[key].as_str().with_context(|| format!("the gateway's answer has no {key}"));
    let (url, state) = (text("url")?, text("state")?);
    let listening = begun["callbackListening"] == true;
    let terminal = std::io::stdin().is_terminal();
    let screen = Screen { json: options.json, prompts: terminal };
    screen.say(&introduction(url, text("redirectUri")?, listening))?;
    if options.browser && terminal && has_display() && open::that_detached(url).is_err() {
        screen.say("No browser could be opened; open the address yourself.\n")?;
    }
    screen.prompt()?;
    let mut input = read_lines();
    let mut failures = 0;
    loop {
        let pasted = tokio::select! {
            line = input.recv() => {
                let Some(line) = line else { anyhow::bail!(ended(terminal)) };
                let line = line.context("standard input")?;
                if line.trim().is_empty() {
                    screen.prompt()?;
                    continue;
                }
                session.complete(state, &line).await
            }
            () = tokio::time::sleep(LOOK) => Ok(Value::Null),
        };
        let status = match session.status(state).await {
            Ok(status) => status,
            Err(error) if error.is::<Unavailable>() && failures < PATIENCE => {
                failures += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        failures = 0;
        match status["state"].as_str() {
            Some("completed") => {
                // The prompt's line is still open when the browser came back by itself.
                if terminal && matches!(pasted, Ok(Value::Null)) {
                    screen.say("\n")?;
                }
                return Ok(status);
            }
            Some("failed") => {
                let reason = status["error"].as_str().unwrap_or("The sign-in failed").to_owned();
                return Err(anyhow::Error::msg(reason));
            }
            Some("pending") => {}
            _ => anyhow::bail!("The sign-in has expired: it waits ten minutes. Start it again"),
        }
        match pasted {
            Ok(_) => {}
            // A person may try again.
            Err(error) if terminal => {
                output::complain(&format!("{error:#}"));
                screen.prompt()?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn introduction(url: &str, redirect_uri: &str, listening: bool) -> String {
    let back = if listening {
        format!(
            "A browser on this machine comes back to {redirect_uri} by itself. From another machine it ends on a page \
             that does not load: paste that page's address here, or the code in it."
        )
    } else {
        format!(
            "The browser then goes to {redirect_uri}. If that page does not load, paste its address here, or the code \
             in it."
        )
    };
    format!("Open this address in a browser and sign in:\n\n  {url}\n\n{back}\n\n")
}

fn ended(terminal: bool) -> &'static str {
    if terminal {
        "cancelled; nothing was changed"
    } else {
        "standard input ended before the sign-in was completed: run this on a terminal, or pipe in the address that \
         the browser ends on, or the code in it"
    }
}

/// Where words for people go: to standard output, or out of the way of the JSON there.
struct Screen {
    json: bool,
    prompts: bool,
}

impl Screen {
    fn say(&self, text: &str) -> std::io::Result<()> {
        if self.json { output::note(text) } else { output::write(text) }
    }

    fn prompt(&self) -> std::io::Result<()> {
        if self.prompts { self.say("Address or code: ") } else { Ok(()) }
    }
}

/// Lines of standard input, as they come. The thread that waits for them ends with the process: nothing can end a
/// blocked read.
fn read_lines() -> mpsc::Receiver<std::io::Result<Zeroizing<String>>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut lines = std::io::stdin().lock();
        loop {
            let mut line = Zeroizing::new(String::new());
            let read = match lines.read_line(&mut line) {
                Ok(0) => return,
                Ok(_) => Ok(line),
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Whether a browser would be seen: on a text terminal one would take the terminal over.
#[expect(clippy::disallowed_methods, reason = "what the person's session offers is no setting")]
fn has_display() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(windows, target_os = "macos"))
        || ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"].iter().any(|name| set(name))
}

#[cfg(test)]
mod tests {
    use super::introduction;

    #[test]
    fn the_introduction_says_where_the_browser_ends() {
        let listening = introduction("https://a/?x", "http://localhost:1/oauth-callback", true);
        assert!(
            listening.contains("\n\n  https://a/?x\n\n") && listening.contains("by itself"),
            "{listening}"
        );
        let remote = introduction("https://a/?x", "http://localhost:1/oauth-callback", false);
        assert!(remote.contains("paste its address") && !remote.contains("by itself"), "{remote}");
    }
}
