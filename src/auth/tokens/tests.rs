use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::IntoResponse as _;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{
    Begun, RefreshFailure, Source, StoreFault, StoredToken, TokenError, TokenRequest, TokenStore, Tokens,
    credential_aad,
};
use crate::auth::oauth::OAuth;
use crate::auth::vault::{Sealed, Vault};
use crate::clock::Clock;
use crate::cloudcode::http;
use crate::config::{OAuthConfig, UpstreamConfig};

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// A store of one process, as the scripts behave.
#[derive(Default)]
struct Memory {
    accounts: Mutex<HashMap<String, Account>>,
}

#[derive(Default)]
struct Account {
    credential: Option<Sealed>,
    token: Option<StoredToken>,
    generation: u64,
    lock: Option<String>,
    failed: bool,
}

impl TokenStore for Memory {
    fn begin_refresh<'a>(
        &'a self,
        account: &'a str,
        version: u64,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<Begun, StoreFault>> {
        async move {
            let mut accounts = self.accounts.lock().unwrap();
            let Some(account) = accounts.get_mut(account).filter(|_| version == 1) else {
                return Ok(Begun::Changed);
            };
            if let Some(token) = &account.token {
                return Ok(Begun::Token(token.clone()));
            }
            if account.failed {
                return Ok(Begun::Backoff { retry_after: Duration::from_secs(5) });
            }
            if account.lock.is_some() {
                return Ok(Begun::Busy);
            }
            account.lock = Some(owner.to_owned());
            Ok(Begun::Refresh { credential: account.credential.clone().unwrap() })
        }
        .boxed()
    }

    fn finish_refresh<'a>(
        &'a self,
        account: &'a str,
        _version: u64,
        owner: &'a str,
        token: &'a Sealed,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<u64>, StoreFault>> {
        async move {
            let mut accounts = self.accounts.lock().unwrap();
            let account = accounts.get_mut(account).unwrap();
            if account.lock.take().as_deref() != Some(owner) {
                return Ok(None);
            }
            account.generation += 1;
            let generation = account.generation;
            account.token = Some(StoredToken { sealed: token.clone(), generation, remaining: ttl });
            Ok(Some(generation))
        }
        .boxed()
    }

    fn fail_refresh<'a>(
        &'a self,
        account: &'a str,
        _version: u64,
        owner: &'a str,
        failure: RefreshFailure,
    ) -> BoxFuture<'a, Result<(), StoreFault>> {
        async move {
            let mut accounts = self.accounts.lock().unwrap();
            let account = accounts.get_mut(account).unwrap();
            account.lock.take_if(|holder| holder == owner);
            account.failed = failure == RefreshFailure::Transient;
            Ok(())
        }
        .boxed()
    }

    fn drop_token<'a>(&'a self, account: &'a str, generation: u64) -> BoxFuture<'a, Result<(), StoreFault>> {
        async move {
            let mut accounts = self.accounts.lock().unwrap();
            let account = accounts.get_mut(account).unwrap();
            account.token.take_if(|token| token.generation == generation);
            Ok(())
        }
        .boxed()
    }
}

struct World {
    store: Arc<Memory>,
    vault: Arc<Vault>,
    url: String,
    posts: Arc<AtomicU32>,
    bodies: Arc<Mutex<Vec<String>>>,
    _server: AbortOnDropHandle<()>,
}

impl World {
    /// A token endpoint that answers `status` and `body`, and one account `a` with a refresh token.
    #[expect(clippy::disallowed_methods, reason = "the test's own server, ended with its handle")]
    async fn new(status: u16, body: &'static str) -> Self {
        let posts = Arc::new(AtomicU32::new(0));
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let (count, record) = (Arc::clone(&posts), Arc::clone(&bodies));
        let app = axum::Router::new().fallback(move |form: String| {
            count.fetch_add(1, Ordering::SeqCst);
            record.lock().unwrap().push(form);
            async move { (::http::StatusCode::from_u16(status).unwrap(), body).into_response() }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let vault = Arc::new(Vault::new(&[KEY.into()]).unwrap());
        let credential = vault.seal(&credential_aad("a"), &"1//r|project|managed".into()).unwrap();
        let store = Arc::new(Memory::default());
        let account = Account { credential: Some(credential), ..Account::default() };
        store.accounts.lock().unwrap().insert("a".into(), account);
        Self { store, vault, url, posts, bodies, _server: AbortOnDropHandle::new(server) }
    }

    fn replica(&self) -> Tokens {
        self.replica_with(Some("id"))
    }

    fn replica_with(&self, client_id: Option<&str>) -> Tokens {
        let config = OAuthConfig {
            client_id: client_id.map(str::to_owned),
            client_secret: Some("shh".into()),
            token_url: self.url.clone(),
            ..OAuthConfig::default()
        };
        let oauth = OAuth::new(http::client(&UpstreamConfig::default()).unwrap(), config);
        let store: Arc<dyn TokenStore> = self.store.clone();
        Tokens::new(oauth, Arc::clone(&self.vault), store, Clock::system(), TaskTracker::new())
    }

    fn posts(&self) -> u32 {
        self.posts.load(Ordering::SeqCst)
    }
}

fn request(source: Source) -> TokenRequest {
    TokenRequest { account: "a".into(), source, credential_version: 1, admitted: None }
}

const GRANTED: &str = r#"{"access_token":"ya29","expires_in":3600}"#;

#[tokio::test]
async fn many_callers_on_two_replicas_refresh_once() {
    let world = World::new(200, GRANTED).await;
    let replicas = [world.replica(), world.replica()];
    let request = request(Source::OAuth);
    let callers = (0..100).map(|n| replicas[n % 2].access_token(&request));
    for token in join_all(callers).await {
        let token = token.unwrap();
        assert_eq!((token.secret.expose_secret(), token.generation), ("ya29", 1));
    }
    assert_eq!(world.posts(), 1);
    assert_eq!(
        world.bodies.lock().unwrap()[0],
        "client_id=id&client_secret=shh&refresh_token=1%2F%2Fr&grant_type=refresh_token"
    );
    assert_eq!(replicas[0].known_generations(), [("a".to_owned(), 1)]);
    let stored = world.store.accounts.lock().unwrap()["a"].token.clone().unwrap();
    assert_eq!(stored.remaining, Duration::from_mins(5));
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_a_newer_one_stays() {
    let world = World::new(200, r#"{"access_token":"ya29","expires_in":120}"#).await;
    let (one, two) = (world.replica(), world.replica());
    let request = request(Source::OAuth);
    one.access_token(&request).await.unwrap();
    two.access_token(&request).await.unwrap();
    one.refused("a", 1).await.unwrap();
    assert_eq!(one.access_token(&request).await.unwrap().generation, 2);
    two.refused("a", 1).await.unwrap();
    assert_eq!(two.access_token(&request).await.unwrap().generation, 2);
    assert_eq!(world.posts(), 2);
    let stored = world.store.accounts.lock().unwrap()["a"].token.clone().unwrap();
    assert_eq!(stored.remaining, Duration::from_mins(1));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_lose_the_refresh() {
    let world = World::new(200, GRANTED).await;
    let tokens = world.replica();
    let request = request(Source::OAuth);
    let mut gone = Box::pin(tokens.access_token(&request));
    assert!(futures_util::poll!(gone.as_mut()).is_pending());
    drop(gone);
    assert_eq!(tokens.access_token(&request).await.unwrap().generation, 1);
    assert_eq!(world.posts(), 1);
}

#[tokio::test]
async fn an_admitted_token_is_used_as_it_is() {
    let world = World::new(200, GRANTED).await;
    let sealed = world.vault.seal("a:token", &"from-admission".into()).unwrap();
    let admitted = StoredToken { sealed, generation: 9, remaining: Duration::from_mins(1) };
    let tokens = world.replica();
    let request = TokenRequest { admitted: Some(admitted), ..request(Source::OAuth) };
    assert_eq!(tokens.access_token(&request).await.unwrap().secret.expose_secret(), "from-admission");
    assert_eq!(tokens.known_generations(), [("a".to_owned(), 9)]);
    let other_version = TokenRequest { credential_version: 2, admitted: None, ..request };
    assert!(matches!(tokens.access_token(&other_version).await, Err(TokenError::Changed)));
    assert_eq!(world.posts(), 0);
}

#[tokio::test]
async fn failures_are_told_apart_and_only_transient_ones_back_off() {
    let world = World::new(400, r#"{"error":"invalid_grant"}"#).await;
    let tokens = world.replica();
    assert!(matches!(tokens.access_token(&request(Source::OAuth)).await, Err(TokenError::Revoked)));
    {
        let accounts = world.store.accounts.lock().unwrap();
        assert!(accounts["a"].lock.is_none() && !accounts["a"].failed);
    }
    for (status, body) in [(503, "down"), (429, "{}"), (200, "no json"), (200, r#"{"expires_in":1}"#)] {
        let world = World::new(status, body).await;
        let tokens = world.replica();
        let first = tokens.access_token(&request(Source::OAuth)).await;
        assert!(matches!(first, Err(TokenError::Transient { retry_after: None, .. })), "{status} {body}");
        let second = tokens.access_token(&request(Source::OAuth)).await;
        assert!(matches!(second, Err(TokenError::Transient { retry_after: Some(_), .. })), "{status} {body}");
        assert_eq!(world.posts(), 1);
    }
}

#[tokio::test]
async fn other_sources_and_missing_settings() {
    let world = World::new(200, GRANTED).await;
    let unset = world.replica_with(None);
    let error = unset.access_token(&request(Source::OAuth)).await.unwrap_err();
    assert!(error.to_string().contains("OAUTH_CLIENT_ID"), "{error}");
    let error = unset.access_token(&request(Source::Database)).await.unwrap_err();
    assert!(matches!(error, TokenError::SourceUnsupported { .. }), "{error}");
    let manual = unset.access_token(&request(Source::Manual)).await.unwrap();
    assert_eq!(manual.secret.expose_secret(), "1//r|project|managed");
    assert_eq!(world.posts(), 0);
}
