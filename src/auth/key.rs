//! Checks the API key of a client of `/v1`.

use std::fmt::Write as _;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// First 12 hex digits of the key's SHA-256, or `open` when the gateway asks for no key. Not a secret.
    pub id: Arc<str>,
}

/// The accepted keys, kept as digests.
#[derive(Clone)]
pub struct ApiKeys {
    digests: Vec<[u8; 32]>,
    ids: Vec<Arc<str>>,
    open: ClientKey,
}

impl ApiKeys {
    /// No keys: every request is accepted as `open`.
    #[must_use]
    pub fn new(keys: &[SecretString]) -> Self {
        let digests: Vec<_> = keys.iter().map(|key| digest(key.expose_secret())).collect();
        let ids = digests.iter().map(id).collect();
        Self { digests, ids, open: ClientKey { id: Arc::from("open") } }
    }

    /// Accepts a key in `x-api-key` or as bearer in `authorization`; when both are there either may match.
    /// Takes the same time whichever configured key matches.
    #[must_use]
    pub fn check(&self, headers: &HeaderMap) -> Option<ClientKey> {
        if self.digests.is_empty() {
            return Some(self.open.clone());
        }
        let api_key = headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(str::trim);
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, key) = value.trim().split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        let mut found = None;
        for given in [api_key, bearer].into_iter().flatten() {
            let given = digest(given);
            for (known, id) in self.digests.iter().zip(&self.ids) {
                let equal: Choice = known.ct_eq(&given);
                if bool::from(equal) {
                    found = Some(ClientKey { id: Arc::clone(id) });
                }
            }
        }
        found
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn id(digest: &[u8; 32]) -> Arc<str> {
    let mut text = String::with_capacity(12);
    for byte in &digest[..6] {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::ApiKeys;

    #[test]
    fn either_header_may_match() {
        let keys = ApiKeys::new(&["one".into(), "two".into()]);
        for (headers, accepted) in [
            (vec![], false),
            (vec![("x-api-key", "one")], true),
            (vec![("x-api-key", "One")], false),
            (vec![("x-api-key", "")], false),
            (vec![("authorization", "Bearer two")], true),
            (vec![("authorization", "bEARER  two ")], true),
            (vec![("authorization", "Basic two")], false),
            (vec![("authorization", "two")], false),
            (vec![("x-api-key", "wrong"), ("authorization", "Bearer one")], true),
            (vec![("x-api-key", "two"), ("authorization", "Bearer wrong")], true),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(keys.check(&map).is_some(), accepted, "{headers:?}");
        }
        let one = keys.check(
            &[(HeaderName::from_static("x-api-key"), HeaderValue::from_static("one"))].into_iter().collect(),
        );
        assert_eq!(&*one.unwrap().id, "7692c3ad3540");
    }

    #[test]
    fn without_keys_the_gateway_is_open() {
        assert_eq!(&*ApiKeys::new(&[]).check(&HeaderMap::new()).unwrap().id, "open");
    }
}
