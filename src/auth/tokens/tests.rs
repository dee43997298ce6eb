use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::IntoResponse as _;
use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{StoredToken, TokenError, TokenRequest, Tokens, credential_aad};
use crate::auth::oauth::OAuth;
use crate::auth::vault::Vault;
use crate::clock::Clock;
use crate::cloudcode::http;
use crate::config::{OAuthConfig, UpstreamConfig};
use crate::store::ident::{AccountId, CredentialVersion, Generation, InvalidReason, OwnerId, Source};
use crate::store::ops::listing::Named;
use crate::store::ops::tokens::{FinishedRefresh, Refresh};
use crate::store::unsteady::{Network, Unsteady, add_account, only_account};

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn a() -> AccountId {
    AccountId::new("a").unwrap()
}

struct World {
    host: Arc<Unsteady>,
    vault: Arc<Vault>,
    url: String,
    posts: Arc<AtomicU32>,
    bodies: Arc<Mutex<Vec<String>>>,
    /// The endpoint answers while it has permits; it begins with plenty.
    gate: Arc<Semaphore>,
    _server: AbortOnDropHandle<()>,
}

impl World {
    /// A token endpoint that answers `status` and `body`, and one account `a` with a refresh token.
    #[expect(clippy::disallowed_methods, reason = "the test's own server, ended with its handle")]
    async fn new(status: u16, body: &'static str) -> Self {
        let posts = Arc::new(AtomicU32::new(0));
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Semaphore::new(1000));
        let (count, record, open) = (Arc::clone(&posts), Arc::clone(&bodies), Arc::clone(&gate));
        let app = axum::Router::new().fallback(move |form: String| {
            count.fetch_add(1, Ordering::SeqCst);
            record.lock().unwrap().push(form);
            let open = Arc::clone(&open);
            async move {
                open.acquire().await.unwrap().forget();
                (::http::StatusCode::from_u16(status).unwrap(), body).into_response()
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let vault = Arc::new(Vault::new(&[KEY.into()]).unwrap());
        let credential = vault.seal(&credential_aad("a"), &"1//r|project|managed".into()).unwrap();
        let host = Unsteady::new(Clock::system());
        add_account(&host.pool(), &a(), Source::OAuth, credential.as_str()).await;
        Self { host, vault, url, posts, bodies, gate, _server: AbortOnDropHandle::new(server) }
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
        Tokens::new(oauth, Arc::clone(&self.vault), self.host.pool(), Clock::system(), TaskTracker::new())
    }

    fn posts(&self) -> u32 {
        self.posts.load(Ordering::SeqCst)
    }

    /// Waits until the endpoint was asked `posts` times.
    async fn asked(&self, posts: u32) {
        let asked = async {
            while self.posts() < posts {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap();
    }

    /// How long the stored token may still be used, in whole seconds rounded up.
    async fn stored_for(&self) -> u64 {
        let owner = OwnerId::new("look").unwrap();
        match self.host.pool().begin_refresh(&a(), &owner, Duration::from_secs(1)).await.unwrap() {
            Refresh::Token { ttl, .. } => u64::try_from(ttl.as_millis().div_ceil(1000)).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn request(source: Source) -> TokenRequest {
    TokenRequest { account: a(), source, credential: CredentialVersion(1), admitted: None }
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
        assert_eq!((token.secret.expose_secret(), token.generation), ("ya29", Generation(1)));
    }
    assert_eq!(world.posts(), 1);
    assert_eq!(
        world.bodies.lock().unwrap()[0],
        "client_id=id&client_secret=shh&refresh_token=1%2F%2Fr&grant_type=refresh_token"
    );
    assert_eq!(replicas[0].known_generations(9), [(a(), Generation(1))]);
    assert_eq!(world.stored_for().await, 300);
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_a_newer_one_stays() {
    let world = World::new(200, r#"{"access_token":"ya29","expires_in":120}"#).await;
    let (one, two) = (world.replica(), world.replica());
    let request = request(Source::OAuth);
    one.access_token(&request).await.unwrap();
    two.access_token(&request).await.unwrap();
    one.refused(&a(), Generation(1)).await.unwrap();
    assert_eq!(one.access_token(&request).await.unwrap().generation, Generation(2));
    two.refused(&a(), Generation(1)).await.unwrap();
    assert_eq!(two.access_token(&request).await.unwrap().generation, Generation(2));
    assert_eq!(world.posts(), 2);
    assert_eq!(world.stored_for().await, 60);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_lose_the_refresh() {
    let world = World::new(200, GRANTED).await;
    let tokens = world.replica();
    let request = request(Source::OAuth);
    let mut gone = Box::pin(tokens.access_token(&request));
    assert!(futures_util::poll!(gone.as_mut()).is_pending());
    drop(gone);
    assert_eq!(tokens.access_token(&request).await.unwrap().generation, Generation(1));
    assert_eq!(world.posts(), 1);
}

#[tokio::test]
async fn an_admitted_token_is_used_as_it_is() {
    let world = World::new(200, GRANTED).await;
    let sealed = world.vault.seal("a:token", &"from-admission".into()).unwrap();
    let admitted = StoredToken { sealed, generation: Generation(9), remaining: Duration::from_mins(1) };
    let tokens = world.replica();
    let request = TokenRequest { admitted: Some(admitted), ..request(Source::OAuth) };
    let token = tokens.access_token(&request).await.unwrap();
    assert_eq!(token.secret.expose_secret(), "from-admission");
    assert_eq!(tokens.known_generations(1), [(a(), Generation(9))]);
    assert_eq!(tokens.known_generations(0), []);
    let again = tokens.access_token(&request).await.unwrap();
    assert!(Arc::ptr_eq(&token.secret, &again.secret), "it is opened once");
    let other_version = TokenRequest { credential: CredentialVersion(2), admitted: None, ..request };
    assert!(matches!(tokens.access_token(&other_version).await, Err(TokenError::Changed)));
    assert_eq!(world.posts(), 0);
}

#[tokio::test]
async fn failures_are_told_apart_and_only_transient_ones_back_off() {
    let world = World::new(400, r#"{"error":"invalid_grant"}"#).await;
    let tokens = world.replica();
    assert!(matches!(tokens.access_token(&request(Source::OAuth)).await, Err(TokenError::Revoked)));
    let invalid = only_account(&world.host.pool()).await.invalid.map(|invalid| invalid.reason);
    assert_eq!(invalid, Some(InvalidReason::Revoked));
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

#[tokio::test]
async fn a_token_fetched_while_the_store_is_away_is_kept() {
    for network in [Network::Cut, Network::Deaf] {
        let world = World::new(200, GRANTED).await;
        world.gate.forget_permits(1000);
        let (one, two) = (world.replica(), world.replica());
        let request = request(Source::OAuth);
        let outage = async {
            world.asked(1).await;
            world.host.set(network);
            world.gate.add_permits(1000);
            while !world.host.batches().iter().flatten().any(|script| *script == "finish_refresh") {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            world.host.set(Network::Up);
        };
        let (token, other, ()) = tokio::join!(one.access_token(&request), two.access_token(&request), outage);
        assert_eq!((token.unwrap().generation, other.unwrap().generation), (Generation(1), Generation(1)));
        assert_eq!(world.posts(), 1, "{network:?}");
    }
}

#[tokio::test]
async fn the_result_of_one_who_lost_the_lock_is_refused() {
    let world = World::new(200, GRANTED).await;
    world.gate.forget_permits(1000);
    let tokens = world.replica();
    let request = request(Source::OAuth);
    let store = world.host.pool();
    let overtaken = async {
        world.asked(1).await;
        // Its lock ends, and another replica is quicker.
        let later = store.at(Clock::system().epoch_ms() + 20_001);
        let quick = OwnerId::new("quick").unwrap();
        let lock = Duration::from_secs(20);
        assert!(matches!(later.begin_refresh(&a(), &quick, lock).await.unwrap(), Refresh::Granted { .. }));
        let sealed = world.vault.seal("a:token", &"quick".into()).unwrap();
        let minute = Duration::from_mins(1);
        let kept = later.finish_refresh(&a(), &quick, CredentialVersion(1), minute, sealed.as_str()).await;
        assert_eq!(kept.unwrap(), FinishedRefresh::Kept(Generation(1)));
        world.gate.add_permits(1000);
    };
    let (token, ()) = tokio::join!(tokens.access_token(&request), overtaken);
    assert_eq!(token.unwrap().secret.expose_secret(), "quick");
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_for_another_looks_now_and_then_and_not_for_ever() {
    let world = World::new(200, GRANTED).await;
    let holder = OwnerId::new("dead").unwrap();
    let store = world.host.pool();
    store.begin_refresh(&a(), &holder, Duration::from_mins(10)).await.unwrap();
    world.host.batches();
    let tokens = world.replica();
    let before = Clock::system().instant();
    let refused = tokens.access_token(&request(Source::OAuth)).await;
    assert!(matches!(refused, Err(TokenError::Transient { .. })));
    let waited = Clock::system().instant() - before;
    assert!((5..6).contains(&waited.as_secs()), "another account may serve the request: {waited:?}");
    // The flight looks on.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let looks = world.host.batches().len();
    assert!((80..=201).contains(&looks), "{looks} looks in 20 s");
    assert_eq!(world.posts(), 0);
}

impl World {
    /// Time is the test's own; the store's follows it.
    async fn paused(body: &'static str) -> Self {
        let mut world = Self::new(200, body).await;
        let host = Unsteady::new(Clock::following(1_800_000_000_000));
        let credential = world.vault.seal(&credential_aad("a"), &"1//r".into()).unwrap();
        add_account(&host.pool(), &a(), Source::OAuth, credential.as_str()).await;
        world.host = host;
        tokio::time::pause();
        world
    }
}

/// Runs the renewals of `replicas` beside `work`.
async fn beside<T>(replicas: &[Tokens], work: impl Future<Output = T>) -> T {
    let stop = CancellationToken::new();
    let renewals = join_all(replicas.iter().map(|tokens| tokens.clone().renew_ahead(stop.clone())));
    let work = async {
        let done = work.await;
        stop.cancel();
        done
    };
    tokio::join!(work, renewals).0
}

#[tokio::test]
async fn a_token_in_use_is_renewed_ahead_by_one_of_many_and_an_idle_one_is_not() {
    let world = World::paused(r#"{"access_token":"ya29","expires_in":160}"#).await;
    let replicas = [world.replica(), world.replica(), world.replica()];
    let request = request(Source::OAuth);
    let look = async || world.stored_for().await;
    beside(&replicas, async {
        for tokens in &replicas {
            tokens.access_token(&request).await.unwrap();
            tokens.used(&a());
        }
        assert_eq!((world.posts(), look().await), (1, 100));
        tokio::time::sleep(Duration::from_secs(79)).await;
        assert_eq!(world.posts(), 1, "not yet");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(world.posts(), 2, "once, before its end");
        // Nobody has used the new one.
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(world.posts(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_fails_ahead_is_tried_again_while_the_old_token_serves() {
    let world = World::paused("nonsense").await;
    let (tokens, request) = (world.replica(), request(Source::OAuth));
    let store = world.host.pool();
    let me = OwnerId::new("me").unwrap();
    store.begin_refresh(&a(), &me, Duration::from_secs(20)).await.unwrap();
    let sealed = world.vault.seal("a:token", &"old".into()).unwrap();
    let life = Duration::from_mins(5);
    store.finish_refresh(&a(), &me, CredentialVersion(1), life, sealed.as_str()).await.unwrap();
    beside(std::slice::from_ref(&tokens), async {
        tokens.access_token(&request).await.unwrap();
        tokens.used(&a());
        tokio::time::sleep(life.mul_f64(0.998)).await;
        let tries = world.posts();
        assert!((2..=5).contains(&tries), "5 s, then 10 s, then 20 s apart: {tries}");
        assert_eq!(tokens.access_token(&request).await.unwrap().secret.expose_secret(), "old");
        let account = only_account(&store).await;
        assert!(account.invalid.is_none() && account.cooling.is_zero());
        // When it is over, the account rests and is tried on for a while.
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(world.posts() > tries);
        assert!(!only_account(&store).await.cooling.is_zero());
        tokio::time::sleep(Duration::from_mins(5)).await;
        let given_up = world.posts();
        tokio::time::sleep(Duration::from_mins(5)).await;
        assert_eq!(world.posts(), given_up);
    })
    .await;
}

#[tokio::test]
async fn a_refused_client_is_no_accounts_fault_and_is_left_alone_for_a_while() {
    let world = World::new(401, r#"{"error":"invalid_client"}"#).await;
    let (tokens, request) = (world.replica(), request(Source::OAuth));
    assert!(!tokens.client_is_refused());
    for _ in 0..3 {
        let refused = tokens.access_token(&request).await;
        assert!(matches!(refused, Err(TokenError::Misconfigured)), "{refused:?}");
    }
    assert_eq!(world.posts(), 1);
    assert!(tokens.client_is_refused());
    let account = only_account(&world.host.pool()).await;
    assert!(account.invalid.is_none() && account.cooling.is_zero());
    // A replica whose client is right need not wait for anything, and what was admitted is used.
    let owner = OwnerId::new("other").unwrap();
    let begun = world.host.pool().begin_refresh(&a(), &owner, Duration::from_secs(1)).await.unwrap();
    assert!(matches!(begun, Refresh::Granted { .. }), "{begun:?}");
    let sealed = world.vault.seal("a:token", &"from-admission".into()).unwrap();
    let admitted = StoredToken { sealed, generation: Generation(9), remaining: Duration::from_mins(1) };
    let token = tokens.access_token(&TokenRequest { admitted: Some(admitted), ..request }).await.unwrap();
    assert_eq!(token.secret.expose_secret(), "from-admission");
}

#[tokio::test]
async fn a_stored_token_that_does_not_open_is_replaced() {
    let world = World::new(200, GRANTED).await;
    let (tokens, request, store) = (world.replica(), request(Source::OAuth), world.host.pool());
    let me = OwnerId::new("me").unwrap();
    let strange = Vault::new(&["AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=".into()]).unwrap();
    let sealed = strange.seal("a:token", &"sealed by another".into()).unwrap();
    let lock = Duration::from_secs(20);
    store.begin_refresh(&a(), &me, lock).await.unwrap();
    store.finish_refresh(&a(), &me, CredentialVersion(1), lock * 9, sealed.as_str()).await.unwrap();
    assert_eq!(tokens.access_token(&request).await.unwrap().generation, Generation(2));
    let admitted = StoredToken { sealed, generation: Generation(2), remaining: lock };
    let request = TokenRequest { admitted: Some(admitted), ..request };
    assert_eq!(tokens.access_token(&request).await.unwrap().generation, Generation(3));
    assert_eq!(world.posts(), 2);
}

#[tokio::test]
async fn the_desktops_token_is_read_anew_and_lasts_as_long_as_it_says() {
    let world = World::new(200, GRANTED).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.vscdb");
    let credential = world.vault.seal(&credential_aad("d"), &path.to_str().unwrap().into()).unwrap();
    let account = AccountId::new("d").unwrap();
    add_account(&world.host.pool(), &account, Source::Database, credential.as_str()).await;
    let request = TokenRequest {
        account: account.clone(),
        source: Source::Database,
        credential: CredentialVersion(1),
        admitted: None,
    };
    let tokens = world.replica().with_databases(true);
    let stored = world.host.pool().get_account(Named::Id(&account)).await.unwrap().unwrap();
    let error = tokens.trial(&stored).await.unwrap_err();
    assert!(error.to_string().contains("Make sure Antigravity is installed"), "{error}");
    let desktop = rusqlite::Connection::open(&path).unwrap();
    desktop
        .execute_batch("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        .unwrap();
    let sign_in = |token: &str| {
        let status = format!(r#"{{"apiKey":"{token}"}}"#);
        desktop.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?1)", [status]).unwrap();
    };
    sign_in("first");
    let first = tokens.access_token(&request).await.unwrap();
    assert_eq!(first.secret.expose_secret(), "first");
    sign_in("second");
    assert_eq!(tokens.access_token(&request).await.unwrap().secret.expose_secret(), "first", "cached");
    tokens.refused(&account, first.generation).await.unwrap();
    assert_eq!(tokens.access_token(&request).await.unwrap().secret.expose_secret(), "second");
    assert_eq!(world.posts(), 0, "Google is not asked");
    // Elsewhere nothing is read.
    let error = world.replica().trial(&stored).await.unwrap_err();
    assert!(matches!(error, TokenError::SourceUnsupported { .. }), "{error}");
}
