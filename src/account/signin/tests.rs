use std::sync::Arc;

use secrecy::SecretString;
use tokio_util::task::TaskTracker;

use super::{SignInError, SignIns};
use crate::account::directory::Directory;
use crate::auth::oauth::OAuth;
use crate::auth::vault::Vault;
use crate::clock::Clock;
use crate::cloudcode::http;
use crate::config::{OAuthConfig, UpstreamConfig};
use crate::store::Store;
use crate::store::ops::signins::SignInStatus;
use crate::store::unsteady::{Network, Unsteady};

const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const BACK: &str = "http://localhost:51121/oauth-callback";

fn signins(store: &Store, key: &str, client: Option<&str>) -> SignIns {
    let vault = Arc::new(Vault::new(&[SecretString::from(key)]).unwrap());
    let config = OAuthConfig {
        client_id: client.map(str::to_owned),
        client_secret: Some("shh".into()),
        // Nobody listens there.
        token_url: "http://127.0.0.1:1/token".into(),
        ..OAuthConfig::default()
    };
    let oauth = OAuth::new(http::client(&UpstreamConfig::default()).unwrap(), config);
    let directory = Directory::new(store.clone(), Arc::clone(&vault), Clock::system());
    SignIns::new(store.clone(), vault, oauth, directory, TaskTracker::new())
}

#[tokio::test]
async fn a_gateway_without_the_key_says_so_and_one_with_it_goes_on() {
    let store = Unsteady::new(Clock::system()).pool();
    let begun = signins(&store, ONE, Some("id")).begin(BACK, None).await.unwrap();
    let state = begun.state.as_str();
    let other = signins(&store, OTHER, Some("id"));
    let refused = other.pasted(state, "a code of somebody").await.unwrap_err();
    assert!(matches!(refused, SignInError::Key { .. }), "{refused}");
    assert!(matches!(other.status(state).await.unwrap(), SignInStatus::Pending(_)));
    // The next one gets as far as Google, which is not there: the code stays of use, and the sign-in waits on.
    let refused = signins(&store, ONE, Some("id")).pasted(state, "a code of somebody").await.unwrap_err();
    assert!(matches!(refused, SignInError::Unreachable), "{refused}");
    assert!(matches!(other.status(state).await.unwrap(), SignInStatus::Pending(_)));
}

#[tokio::test]
async fn without_a_client_nothing_is_begun() {
    let store = Unsteady::new(Clock::system()).pool();
    let signins = signins(&store, ONE, None);
    for refused in [signins.check().err(), signins.begin(BACK, None).await.err()] {
        let refused = refused.unwrap();
        assert!(matches!(refused, SignInError::NotConfigured { .. }), "{refused}");
        assert!(refused.to_string().starts_with("OAuth client is not configured: set OAUTH_CLIENT_ID"));
    }
}

#[tokio::test]
async fn a_store_that_swallows_its_answer_makes_the_person_wait() {
    let host = Unsteady::new(Clock::system());
    let store = host.pool();
    let signins = signins(&store, ONE, Some("id"));
    let begun = signins.begin(BACK, None).await.unwrap();
    host.set(Network::Deaf);
    let refused = signins.pasted(begun.state.as_str(), "a code of somebody").await.unwrap_err();
    assert!(matches!(refused, SignInError::Untaken(_)), "{refused}");
    assert!(refused.to_string().contains("again in two minutes"), "{refused}");
    // It was given, to a call that does not know it: that is why.
    host.set(Network::Up);
    let refused = signins.pasted(begun.state.as_str(), "a code of somebody").await.unwrap_err();
    assert!(matches!(refused, SignInError::Busy), "{refused}");
}
