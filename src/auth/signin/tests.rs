use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use url::Url;

use super::{Authorization, PasteError, Pasted, Returned, challenge, new_state, new_verifier};
use crate::store::ops::signins::SignInState;

#[test]
fn the_challenge_is_that_of_rfc_7636_appendix_b() {
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into();
    assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[test]
fn verifiers_and_states_are_new_and_well_formed() {
    let (one, other) = (new_verifier().unwrap(), new_verifier().unwrap());
    assert_ne!(one.expose_secret(), other.expose_secret());
    let unreserved = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    assert!(one.expose_secret().len() == 43 && one.expose_secret().chars().all(unreserved));
    assert_ne!(new_state().unwrap(), new_state().unwrap());
}

#[test]
fn the_url_has_the_parameters_of_the_specification_in_its_order() {
    let state = SignInState::from_bytes([1; 16]);
    let mut authorization = Authorization {
        endpoint: "https://accounts.example.com/o/oauth2/v2/auth",
        client_id: "id & more",
        redirect_uri: "http://localhost:51121/oauth-callback",
        challenge: "abc",
        state: &state,
        login_hint: None,
    };
    let read = |authorization: &Authorization<'_>| -> Vec<(String, String)> {
        let url = Url::parse(&authorization.url().unwrap()).unwrap();
        assert_eq!((url.host_str(), url.path()), (Some("accounts.example.com"), "/o/oauth2/v2/auth"));
        url.query_pairs().into_owned().collect()
    };
    let scope = "https://www.googleapis.com/auth/cloud-platform \
                 https://www.googleapis.com/auth/userinfo.email \
                 https://www.googleapis.com/auth/userinfo.profile \
                 https://www.googleapis.com/auth/cclog \
                 https://www.googleapis.com/auth/experimentsandconfigs";
    let mut expected = vec![
        ("client_id", "id & more"),
        ("redirect_uri", "http://localhost:51121/oauth-callback"),
        ("response_type", "code"),
        ("scope", scope),
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("code_challenge", "abc"),
        ("code_challenge_method", "S256"),
        ("state", "01010101010101010101010101010101"),
    ];
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(read(&authorization), owned(&expected));
    authorization.login_hint = Some("a+b@example.com");
    expected.push(("login_hint", "a+b@example.com"));
    assert_eq!(read(&authorization), owned(&expected));
    authorization.endpoint = "nowhere";
    assert!(authorization.url().is_err());
}

#[test]
fn what_is_pasted_is_an_address_or_a_code() {
    for (text, expected) in [
        ("", Err(PasteError::Empty)),
        ("  \n", Err(PasteError::Empty)),
        ("short", Err(PasteError::Short)),
        ("123456789", Err(PasteError::Short)),
        ("  4/0Ab_cd-efgh  ", Ok(("4/0Ab_cd-efgh", None))),
        ("http://localhost:51121/oauth-callback?state=s&code=4%2F0Ab&scope=x", Ok(("4/0Ab", Some("s")))),
        ("HTTPS://any.example/where?code=c", Ok(("c", None))),
        ("https://any.example/where?state=s", Err(PasteError::NoCode)),
        ("https://any.example/where?code=", Err(PasteError::NoCode)),
        ("https://any.example/#code=c", Err(PasteError::NoCode)),
        ("https://[", Err(PasteError::Url)),
        ("http://a/?error=access_denied&code=c", Err(PasteError::Refused("access_denied".into()))),
        ("http://a/?error=%3Cscript%3E", Err(PasteError::Refused("script".into()))),
    ] {
        let read = Pasted::parse(text);
        let read = read.as_ref().map(|pasted| (pasted.code.expose_secret(), pasted.state.as_deref()));
        assert_eq!(read, expected.as_ref().map(|(code, state)| (*code, *state)), "{text}");
    }
}

#[test]
fn a_pasted_address_must_be_of_the_same_sign_in() {
    let state = SignInState::from_bytes([7; 16]);
    let address = |of: &str| Pasted::parse(&format!("http://localhost/?code=c&state={of}")).unwrap();
    assert!(address(state.as_str()).code_for(&state).is_ok());
    assert_eq!(address("other").code_for(&state).err(), Some(PasteError::State));
    assert!(Pasted::parse("a bare code").unwrap().code_for(&state).is_ok());
}

#[test]
fn what_comes_back_is_read_once_and_tamed() {
    let read = Returned::parse("state=a&state=b&code=c%20d&code=e&error=x%00y&foo");
    assert_eq!((read.state.as_deref(), read.error.as_deref()), (Some("a"), Some("xy")));
    assert_eq!(read.code.as_ref().unwrap().expose_secret(), "c d");
    assert!(!format!("{read:?}").contains("c d"));
    let none = Returned::parse("state=&code=&error=");
    assert!(none.state.is_none() && none.code.is_none() && none.error.is_none());
    assert_eq!(Returned::parse("error=%26%26").error.as_deref(), Some("unknown"));
    assert_eq!(Returned::parse(&format!("error={}", "e".repeat(100))).error.unwrap().len(), 64);
}

proptest! {
    /// Whatever is pasted or comes back, it is read without a panic, and nothing but plain words is passed on as error.
    #[test]
    fn anything_may_be_pasted_and_come_back(text in "(https?://)?\\PC{0,80}", query in "\\PC{0,80}") {
        let plain = |error: &str| {
            !error.is_empty()
                && error.len() <= 64
                && error.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        };
        match Pasted::parse(&text) {
            Ok(pasted) => prop_assert!(!pasted.code.expose_secret().is_empty()),
            Err(PasteError::Refused(error)) => prop_assert!(plain(&error), "{}", error),
            Err(_) => {}
        }
        if let Some(error) = Returned::parse(&query).error {
            prop_assert!(plain(&error), "{}", error);
        }
    }
}
