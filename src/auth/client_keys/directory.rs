//! Makes, changes, rotates and revokes stored client keys.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{KeyDigest, SECRET_PREFIX, is_reserved, new_secret};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{ClientId, Version};
use crate::store::ops::clients::{
    CLIENTS_MAX, ChangeClient, Client, ClientChange, Clients, Edit, Expiry, NewClient, PutClient,
};

/// Longest name, in characters.
const LONGEST_NAME: usize = 64;
/// Most models that a key may name.
pub const MOST_MODELS: usize = 50;
/// The longest of them, in characters.
pub const LONGEST_MODEL: usize = 64;
/// Longest time until a key expires, and longest grace of a rotation.
const LONGEST_LIFE: Duration = Duration::from_hours(24 * 365 * 100);
const LONGEST_GRACE: Duration = Duration::from_hours(24 * 30);
/// What ids begin with.
const ID_PREFIX: &str = "key_";

/// A key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// Of its person or machine.
    pub name: String,
    /// When it ends; `None` for never.
    pub expires: Option<Expiry>,
    /// Models that it may use; empty for all.
    pub models: Vec<String>,
}

/// A key with a new secret, which nobody can read again.
#[derive(Clone, Debug)]
pub struct Made {
    /// The key.
    pub client: Client,
    /// Its secret.
    pub secret: SecretString,
    /// Whether it is the first one of the pool: until now `/v1` may have been open.
    pub first: bool,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The name cannot be used.
    #[error("name: {0}")]
    Name(&'static str),
    /// A model cannot be used.
    #[error(
        "models: at most {MOST_MODELS} ids or patterns of at most {LONGEST_MODEL} printable ASCII characters without blanks"
    )]
    Models,
    /// The end cannot be used.
    #[error("the expiry must lie ahead, by at most 100 years")]
    Expiry,
    /// The grace is too long.
    #[error("grace: at most 30 days")]
    Grace,
    /// A key in force has the name.
    #[error("There is a key named {0:?} already; rotate or revoke that one, or take another name")]
    Taken(String),
    /// There are too many.
    #[error("There are {CLIENTS_MAX} client keys, which is the most; revoke some")]
    Full,
    /// There is no such key.
    #[error("There is no client key {0:?}")]
    Unknown(String),
    /// It is revoked.
    #[error("The client key {0:?} is revoked, which nothing undoes; make another one")]
    Revoked(String),
    /// It comes from the configuration.
    #[error("The client key {0:?} comes from the gateways' configuration: change API_KEY there")]
    Configured(String),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// The store refused, or does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The stored client keys. Cheap to clone.
#[derive(Clone)]
pub struct Directory {
    store: Store,
}

impl Directory {
    /// Those of `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// All of them, by name, and the store's time; revoked ones too.
    pub async fn list(&self) -> Result<(Vec<Client>, i64), KeyError> {
        let looked = self.store.list_clients(None).await?;
        let Clients { mut clients, .. } = looked.clients.unwrap_or_default();
        clients.sort_by(|a, b| (&a.name, a.created_ms, &a.id).cmp(&(&b.name, b.created_ms, &b.id)));
        Ok((clients, looked.now_ms))
    }

    /// Makes a key; `now_ms` is for the check of its expiry.
    pub async fn create(&self, new: &NewKey, now_ms: i64) -> Result<Made, KeyError> {
        let name = checked_name(&new.name)?;
        check_models(&new.models)?;
        new.expires.map_or(Ok(()), |expiry| check_expiry(expiry, now_ms))?;
        let secret = new_secret(SECRET_PREFIX).ok_or(KeyError::Random)?;
        let id = new_id().ok_or(KeyError::Random)?;
        let digest = KeyDigest::of(secret.expose_secret().as_bytes()).to_hex();
        let put = NewClient { id: &id, name, digest: &digest, expires: new.expires, models: &new.models };
        match self.store.put_client(&put).await? {
            PutClient::Done(generation) => {
                Ok(Made { client: self.get(&id).await?, secret, first: generation == Version(1) })
            }
            PutClient::Taken => Err(KeyError::Taken(name.to_owned())),
            PutClient::Full => Err(KeyError::Full),
        }
    }

    /// Changes name, expiry or models of the key with this id or name.
    pub async fn edit(&self, which: &str, mut change: ClientChange, now_ms: i64) -> Result<Client, KeyError> {
        if let Some(name) = &change.name {
            change.name = Some(checked_name(name)?.to_owned());
        }
        if let Edit::Set(models) = &change.models {
            check_models(models)?;
        }
        if let Edit::Set(expiry) = change.expires {
            check_expiry(expiry, now_ms)?;
        }
        let client = self.find(which).await?;
        self.change(&client, &change).await
    }

    /// Gives the key a new secret; the one before stays good for `grace`.
    pub async fn rotate(&self, which: &str, grace: Duration) -> Result<Made, KeyError> {
        if grace > LONGEST_GRACE {
            return Err(KeyError::Grace);
        }
        let client = self.find(which).await?;
        let secret = new_secret(SECRET_PREFIX).ok_or(KeyError::Random)?;
        let digest = KeyDigest::of(secret.expose_secret().as_bytes()).to_hex();
        let change = ClientChange { rotate: Some((digest, grace)), ..ClientChange::default() };
        Ok(Made { client: self.change(&client, &change).await?, secret, first: false })
    }

    /// Revokes the key, for good.
    pub async fn revoke(&self, which: &str) -> Result<Client, KeyError> {
        let client = self.find(which).await?;
        self.change(&client, &ClientChange { revoke: true, ..ClientChange::default() }).await
    }

    async fn change(&self, client: &Client, change: &ClientChange) -> Result<Client, KeyError> {
        match self.store.change_client(&client.id, change).await? {
            ChangeClient::Done(_) => self.get(&client.id).await,
            ChangeClient::Unknown => Err(KeyError::Unknown(client.name.clone())),
            ChangeClient::Revoked => Err(KeyError::Revoked(client.name.clone())),
            ChangeClient::Taken => Err(KeyError::Taken(change.name.clone().unwrap_or_default())),
        }
    }

    async fn find(&self, which: &str) -> Result<Client, KeyError> {
        if is_reserved(which) {
            return Err(KeyError::Configured(which.to_owned()));
        }
        let (mut clients, _) = self.list().await?;
        let at = position(&clients, which).ok_or_else(|| KeyError::Unknown(which.to_owned()))?;
        Ok(clients.swap_remove(at))
    }

    async fn get(&self, id: &ClientId) -> Result<Client, KeyError> {
        let (clients, _) = self.list().await?;
        let found = clients.into_iter().find(|client| client.id == *id);
        found.ok_or_else(|| KeyError::Unknown(id.to_string()))
    }
}

/// The key of that id, else the one in force of that name, else the one of that name that was revoked last.
fn position(clients: &[Client], which: &str) -> Option<usize> {
    let named = || clients.iter().enumerate().filter(|(_, client)| client.name == which);
    clients
        .iter()
        .position(|client| client.id.as_str() == which)
        .or_else(|| named().find(|(_, client)| client.revoked_ms.is_none()).map(|(at, _)| at))
        .or_else(|| named().max_by_key(|(_, client)| client.revoked_ms).map(|(at, _)| at))
}

/// The id that scopes what `which` does: that of the stored key with this id or name, else `which` itself.
#[must_use]
pub(super) fn id_of(clients: &[Client], which: &str) -> String {
    position(clients, which).map_or_else(|| which.to_owned(), |at| clients[at].id.to_string())
}

fn new_id() -> Option<ClientId> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).ok()?;
    ClientId::new(&format!("{ID_PREFIX}{:016x}", u64::from_be_bytes(bytes))).ok()
}

/// `name` without blanks around it.
fn checked_name(name: &str) -> Result<&str, KeyError> {
    let length = name.chars().count();
    let name = name.trim();
    if name.is_empty() || length > LONGEST_NAME || name.chars().any(|c| c.is_control() || is_unseen(c)) {
        return Err(KeyError::Name("1 to 64 printable characters"));
    }
    if is_reserved(name) || name.starts_with(ID_PREFIX) {
        return Err(KeyError::Name(
            "`default`, `default-<number>`, `open`, `control` and names that begin with `key_` are taken by the gateway",
        ));
    }
    Ok(name)
}

/// Characters that nobody sees, or that turn the text around them: a name with them could pass for another one.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

fn check_models(models: &[String]) -> Result<(), KeyError> {
    let fits = |model: &String| {
        (1..=LONGEST_MODEL).contains(&model.len())
            && model.contains(|c: char| c.is_ascii_alphanumeric() || c == '*')
            && model.chars().all(|c| c.is_ascii_graphic())
    };
    if models.len() <= MOST_MODELS && models.iter().all(fits) { Ok(()) } else { Err(KeyError::Models) }
}

fn check_expiry(expiry: Expiry, now_ms: i64) -> Result<(), KeyError> {
    let left = match expiry {
        Expiry::At(at_ms) => u64::try_from(at_ms.saturating_sub(now_ms)).map(Duration::from_millis),
        Expiry::After(left) => Ok(left),
    };
    match left {
        Ok(left) if !left.is_zero() && left <= LONGEST_LIFE => Ok(()),
        _ => Err(KeyError::Expiry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_from_ids_and_configured_keys() {
        for (name, good) in [
            ("ada", true),
            (" Ada's laptop ", true),
            ("default person", true),
            ("default-x", true),
            (&"ä".repeat(64), true),
            (&"ä".repeat(65), false),
            ("", false),
            ("  ", false),
            ("a\nb", false),
            ("\u{200b}", false),
            ("a\u{202e}b", false),
            ("default", false),
            ("default-2", false),
            ("open", false),
            ("control", false),
            ("key_1", false),
        ] {
            assert_eq!(checked_name(name).ok(), good.then(|| name.trim()), "{name:?}");
        }
    }

    #[test]
    fn models_and_ends_have_bounds() {
        let models =
            |texts: &[&str]| check_models(&texts.iter().map(ToString::to_string).collect::<Vec<_>>()).is_ok();
        assert!(models(&[]) && models(&["claude-*", &"m".repeat(64)]) && models(&["m"; 50]));
        assert!(!models(&[""]) && !models(&["a b"]) && !models(&["a\u{1f}"]) && !models(&[&"m".repeat(65)]));
        assert!(!models(&["m"; 51]));
        // Read as no list at all, it would allow every model.
        assert!(models(&["*"]) && !models(&["-"]));
        for (expiry, good) in [
            (Expiry::At(1001), true),
            (Expiry::At(1000), false),
            (Expiry::At(i64::MAX), false),
            (Expiry::At(i64::MIN), false),
            (Expiry::After(Duration::ZERO), false),
            (Expiry::After(LONGEST_LIFE), true),
            (Expiry::After(LONGEST_LIFE + Duration::from_millis(1)), false),
        ] {
            assert_eq!(check_expiry(expiry, 1000).is_ok(), good, "{expiry:?}");
        }
    }

    #[test]
    fn a_key_is_found_by_id_then_in_force_then_revoked_last() {
        let client = |id: &str, name: &str, revoked_ms| Client {
            id: ClientId::new(id).unwrap(),
            name: name.into(),
            digest: String::new(),
            created_ms: 0,
            expires_ms: None,
            models: Vec::new(),
            revoked_ms,
            before: None,
            used_ms: None,
        };
        let clients = [
            client("key_1", "ada", Some(5)),
            client("key_2", "ada", None),
            client("key_3", "ada", Some(9)),
            client("key_4", "bea", Some(9)),
            client("key_5", "bea", Some(7)),
        ];
        for (which, at) in [("key_1", Some(0)), ("ada", Some(1)), ("bea", Some(3)), ("eve", None), ("", None)]
        {
            assert_eq!(position(&clients, which), at, "{which}");
        }
        assert_eq!((id_of(&clients, "bea"), id_of(&clients, "default")), ("key_4".into(), "default".into()));
    }
}
