//! Sign-ins of one process: where the browser is sent back to, and who listens there.

mod listener;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use self::listener::CallbackListener;
use super::gateway::{directory_refusal, store_refusal};
use super::parts::Opened;
use crate::account::signin::{Begun, Completed, SignInError, SignIns, explain};
use crate::anthropic::error::ErrorKind;
use crate::auth::oauth::OAuth;
use crate::clock::Clock;
use crate::cloudcode::http;
use crate::config::{CallbackMode, Config};
use crate::server::error::ApiError;
use crate::server::gateway::{SignInBegun, SignInCompleted, SignInPhase, SignInView};
use crate::store::ops::signins::{SignInStatus, SignedIn};

/// Where Google sends browsers back to, on whatever port.
const PATH: &str = "/oauth-callback";
/// The port that the address names when nobody has another one (spec `http-api.md` §6.2).
const PORT: u16 = 51_121;

/// What begins and completes sign-ins in this process. Cheap to clone.
#[derive(Clone)]
pub(super) struct Desk {
    signins: SignIns,
    listener: CallbackListener,
    place: Place,
}

/// What the settings say of the redirect address.
#[derive(Clone, Debug)]
struct Place {
    redirect_uri: Option<String>,
    public_base_url: Option<String>,
    port: u16,
}

impl Place {
    /// The redirect address, with the port that this process listens on.
    ///
    /// Google's clients for desktop applications accept loopback addresses with any port and nothing else (RFC 8252
    /// §7.3), so another public address counts only when `oauth.redirectUri` names it.
    fn redirect_uri(&self, listening: Option<u16>) -> String {
        if let Some(uri) = &self.redirect_uri {
            return uri.clone();
        }
        if let Some(port) = listening {
            return format!("http://localhost:{port}{PATH}");
        }
        let public = self.public_base_url.as_deref().filter(|url| is_loopback(url));
        let port = if self.port == 0 { PORT } else { self.port };
        match public {
            Some(base) => format!("{}{PATH}", base.trim_end_matches('/')),
            None => format!("http://localhost:{port}{PATH}"),
        }
    }
}

fn is_loopback(url: &str) -> bool {
    match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Desk {
    /// Sign-ins of the store that is open. `alone` says that this process is a command that a person called on this
    /// machine, whose browser may well come back to it. The work runs on `tasks`, the listener until `stop`.
    pub(super) fn new(
        opened: &Opened,
        config: &Config,
        clock: Clock,
        alone: bool,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let oauth = OAuth::new(http::client(&config.upstream)?, config.oauth.clone());
        let signins = SignIns::new(
            opened.store.clone(),
            opened.vault.clone(),
            oauth,
            opened.directory.clone(),
            tasks.clone(),
        );
        let listens = match config.oauth.callback_listener {
            CallbackMode::On => true,
            CallbackMode::Off => false,
            // Behind a shared store the browser is elsewhere.
            CallbackMode::Auto => alone || config.store.redis.is_none(),
        };
        // An address of the operator's own is not the listener's.
        let listens = listens && config.oauth.redirect_uri.is_none();
        let port = config.oauth.callback_port;
        Ok(Self {
            listener: CallbackListener::new(listens.then_some(port), signins.clone(), clock, tasks, stop),
            signins,
            place: Place {
                redirect_uri: config.oauth.redirect_uri.clone(),
                public_base_url: config.server.public_base_url.clone(),
                port,
            },
        })
    }

    /// Begins a sign-in; the listener is bound first, so that the address has its port.
    pub(super) async fn begin(&self, expected: Option<&str>) -> Result<SignInBegun, SignInError> {
        self.signins.check()?;
        let hold = self.listener.open();
        let redirect_uri = self.place.redirect_uri(hold.port());
        let Begun { state, url, expires_at_ms } = self.signins.begin(&redirect_uri, expected).await?;
        let callback_listening = hold.port().is_some();
        let state = hold.expect(&state);
        Ok(SignInBegun { url, state, expires_at: expires_at_ms, redirect_uri, callback_listening })
    }

    /// Completes a sign-in with what a person pasted.
    pub(super) async fn complete(
        &self,
        state: &str,
        input: &SecretString,
    ) -> Result<SignInCompleted, SignInError> {
        let done = self.signins.pasted(state, input.expose_secret()).await;
        self.listener.settled(state, &done);
        done.map(told)
    }

    /// Completes a sign-in with a browser's query.
    pub(super) async fn returned(&self, query: &str) -> Result<SignInCompleted, SignInError> {
        let (state, done) = self.signins.returned(query).await;
        if let Some(state) = state {
            self.listener.settled(state.as_str(), &done);
        }
        done.map(told)
    }

    /// How a sign-in stands.
    pub(super) async fn status(&self, state: &str) -> Result<SignInView, SignInError> {
        let view = |phase| SignInView { state: phase, email: None, error: None, reauth: None };
        Ok(match self.signins.status(state).await? {
            SignInStatus::Pending(_) | SignInStatus::Taken => view(SignInPhase::Pending),
            SignInStatus::Completed { email, how } => SignInView {
                email: Some(email),
                reauth: Some(how == SignedIn::Renewed),
                ..view(SignInPhase::Completed)
            },
            SignInStatus::Failed(failure) => {
                SignInView { error: Some(explain(&failure)), ..view(SignInPhase::Failed) }
            }
            SignInStatus::Unknown => view(SignInPhase::Expired),
        })
    }
}

fn told(done: Completed) -> SignInCompleted {
    SignInCompleted { email: done.email, renewed: done.how == SignedIn::Renewed }
}

/// A refused sign-in on the wire.
pub(super) fn refusal(error: SignInError) -> ApiError {
    let text = error.to_string();
    match error {
        SignInError::NotConfigured { .. } | SignInError::Endpoint => {
            ApiError::new(ErrorKind::Api, text).with_status(::http::StatusCode::SERVICE_UNAVAILABLE)
        }
        SignInError::Busy | SignInError::Contended | SignInError::Key { .. } => {
            ApiError::invalid(text).with_status(::http::StatusCode::CONFLICT)
        }
        SignInError::Unreachable | SignInError::Google => {
            ApiError::new(ErrorKind::Api, text).with_status(::http::StatusCode::BAD_GATEWAY)
        }
        SignInError::Interrupted | SignInError::Untaken(_) => {
            ApiError::new(ErrorKind::Overloaded, text).with_status(::http::StatusCode::SERVICE_UNAVAILABLE)
        }
        SignInError::Input(_)
        | SignInError::NoCode
        | SignInError::Unknown
        | SignInError::Used
        | SignInError::Failed(_)
        | SignInError::Code => ApiError::invalid(text),
        SignInError::Directory(error) => directory_refusal(error),
        SignInError::Store(error) => store_refusal(&error),
        SignInError::Vault(error) => {
            tracing::error!(%error, "a verifier could not be sealed or opened");
            ApiError::internal()
        }
        SignInError::Random(_) => ApiError::internal(),
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn the_redirect_address_is_a_loopback_one_unless_the_operator_has_his_own() {
        let place = |redirect: Option<&str>, public: Option<&str>, port| Place {
            redirect_uri: redirect.map(str::to_owned),
            public_base_url: public.map(str::to_owned),
            port,
        };
        let default = "http://localhost:51121/oauth-callback";
        for (place, listening, expected) in [
            (place(None, None, 51_121), Some(51_123), "http://localhost:51123/oauth-callback"),
            (place(None, None, 51_121), None, default),
            (place(None, None, 0), None, default),
            (place(None, None, 7000), None, "http://localhost:7000/oauth-callback"),
            (place(None, Some("https://gw.example.com"), 51_121), None, default),
            (
                place(None, Some("http://localhost:8080/"), 51_121),
                None,
                "http://localhost:8080/oauth-callback",
            ),
            (place(None, Some("http://127.0.0.1:80"), 1), None, "http://127.0.0.1:80/oauth-callback"),
            (place(None, Some("http://[::1]:80"), 1), None, "http://[::1]:80/oauth-callback"),
            (place(None, Some("http://localhost:8080"), 1), Some(9), "http://localhost:9/oauth-callback"),
            (place(Some("https://gw.example.com/cb"), None, 1), None, "https://gw.example.com/cb"),
        ] {
            assert_eq!(place.redirect_uri(listening), expected, "{place:?}");
        }
    }
}
