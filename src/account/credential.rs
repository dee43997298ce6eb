//! What of an account's credentials is sealed, as one text.
//!
//! Of a refresh token: the composite form whose first segment it is (`auth::oauth::CompositeToken`), its projects left
//! to the account's record, and as fourth segment the access token the account has besides (`token|||key`). Of a manual
//! account: the access token. Of one in the desktop application: the path of its database, which is no secret.

use secrecy::{ExposeSecret, SecretString};

use super::import::Entry;
use crate::store::ident::Source;

/// The text to seal.
pub(super) fn pack(entry: &Entry) -> SecretString {
    let credential = entry.credential.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    match (entry.source, &entry.spare_key) {
        (Source::OAuth, Some(key)) => format!("{credential}|||{}", key.expose_secret()).into(),
        (Source::OAuth | Source::Manual, _) => credential.into(),
        (Source::Database, _) => entry.database.as_deref().unwrap_or_default().into(),
    }
}

/// The credential in use and the one besides.
pub(super) fn unpack(source: Source, sealed: &SecretString) -> (Option<SecretString>, Option<SecretString>) {
    let text = sealed.expose_secret();
    match source {
        Source::OAuth => {
            let mut segments = text.splitn(4, '|').map(str::trim);
            let token = segments.next().unwrap_or_default();
            let spare = segments.nth(2).filter(|key| !key.is_empty());
            (Some(token.into()), spare.map(SecretString::from))
        }
        Source::Manual => (Some(text.into()), None),
        Source::Database => (None, None),
    }
}

/// The text to seal after a sign-in that brought `token`, or none; `before` is what was sealed of a refresh token until
/// then. What the account has besides stays. `None` when there is no refresh token at all.
pub(super) fn renewed(token: Option<&SecretString>, before: Option<&SecretString>) -> Option<SecretString> {
    let Some(token) = token else { return before.cloned() };
    match before.and_then(|before| unpack(Source::OAuth, before).1) {
        Some(spare) => Some(format!("{}|||{}", token.expose_secret(), spare.expose_secret()).into()),
        None => Some(token.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::import::parse;
    use crate::auth::oauth::CompositeToken;

    #[test]
    fn nothing_is_lost_and_the_refresh_token_is_the_one_used() {
        for (entry, packed, spare) in [
            (r#"{"email":"a@b","refreshToken":"r|p|m"}"#, "r", None),
            (r#"{"email":"a@b","refreshToken":"r","apiKey":"k|x"}"#, "r|||k|x", Some("k|x")),
            (r#"{"email":"a@b","apiKey":"k"}"#, "k", None),
            (r#"{"email":"a@b","source":"database","dbPath":"/x"}"#, "/x", None),
            (r#"{"email":"a@b","source":"database"}"#, "", None),
        ] {
            let entry = &parse(format!("[{entry}]").as_bytes()).unwrap().0[0];
            let text = pack(entry);
            assert_eq!(text.expose_secret(), packed);
            let (credential, other) = unpack(entry.source, &text);
            let clear = |secret: Option<SecretString>| secret.map(|one| one.expose_secret().to_owned());
            let wanted = entry.credential.as_ref().map(|one| one.expose_secret().to_owned());
            assert_eq!((clear(credential), clear(other).as_deref()), (wanted.clone(), spare));
            if entry.source == Source::OAuth {
                let used = CompositeToken::parse(&text).unwrap();
                assert_eq!(Some(used.refresh_token.expose_secret().to_owned()), wanted);
                assert_eq!((used.project, used.managed_project), (None, None));
            }
        }
    }

    #[test]
    fn a_sign_in_changes_the_refresh_token_only() {
        for (token, before, after) in [
            (Some("new"), None, Some("new")),
            (Some("new"), Some("old"), Some("new")),
            (Some("new"), Some("old|||key"), Some("new|||key")),
            (None, Some("old|||key"), Some("old|||key")),
            (None, None, None),
        ] {
            let secret = |text: Option<&str>| text.map(SecretString::from);
            let renewed = renewed(secret(token).as_ref(), secret(before).as_ref());
            assert_eq!(renewed.as_ref().map(ExposeSecret::expose_secret), after, "{token:?} {before:?}");
        }
    }
}
