//! Which encryption keys a pool uses: the check at start, and sealing everything anew with the newest key.
//!
//! The pool has a list of the keys that its gateways seal with, each with a text sealed by it (`vault` in the store). Who
//! starts must have all of them, and be able to open those texts: a wrong key is noticed before anything is served or
//! written, also while the pool is empty. A key comes on the list before anything is sealed by it, and leaves it when
//! nothing is any more, which the store itself decides.
//!
//! A gateway seals with the newest of its keys that all live gateways have. So a new key can be rolled out in one go:
//! until the last gateway has it, everybody seals with the old one.

use std::collections::HashSet;

use thiserror::Error;

use super::key_file::KeyFile;
use super::tokens::{credential_aad, token_aad};
use super::vault::{Sealed, Vault, VaultError};
use crate::config::StoreConfig;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::ReplicaId;
use crate::store::ops::sealed::{AddedKey, Forgotten, KnownKey, Place, SealedSecret};

/// Accounts of one page.
const PAGE: u32 = 200;
/// Times that everything is looked at: what another gateway sealed meanwhile is found the next time.
const PASSES: u32 = 5;

/// Why keys could not be rotated, or a gateway not be started with those it has.
#[derive(Debug, Error)]
pub enum RotationError {
    /// The keys do not fit, or cannot be read or written.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store refused or did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A gateway could not open what would be sealed anew.
    #[error(
        "gateway {host} does not have key {id}: give all gateways the same ENCRYPTION_KEYS, with the new key \
         first, wait until they have restarted, and rotate then; nothing was changed"
    )]
    Behind {
        /// The machine.
        host: String,
        /// The newest key.
        id: String,
    },
    /// A gateway that has the key still seals with another.
    #[error(
        "gateway {host} still seals with another key than {id}, as it does until all have that one: try again in a few seconds, and \
         when that does not help, put the key in front there; nothing was changed"
    )]
    Early {
        /// The machine.
        host: String,
        /// The newest key.
        id: String,
    },
    /// A new key is made only where keys live in a file.
    #[error(
        "the keys come from ENCRYPTION_KEYS: put a new one (openssl rand -base64 32) in front there, on every gateway, restart them, \
         and rotate without --new-key"
    )]
    NotAFile,
}

/// What a rotation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// The key that everything is to be sealed by.
    pub newest: String,
    /// Secrets that are sealed by it now and were not before.
    pub resealed: u64,
    /// Secrets that do not open: sealed by a key that is not there, or damaged.
    pub unreadable: Vec<Unreadable>,
    /// Keys by which nothing is sealed any more.
    pub retired: Vec<String>,
    /// Older keys by which something is, and how much.
    pub needed: Vec<(String, u64)>,
}

/// A secret that does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The account's id.
    pub account: String,
    /// What it is.
    pub place: Place,
    /// Why.
    pub reason: String,
}

/// The associated data of a secret.
fn aad(secret: &SealedSecret) -> String {
    match secret.place {
        Place::Credential => credential_aad(secret.account.as_str()),
        Place::Token => token_aad(secret.account.as_str()),
    }
}

/// The keys of `config`, when they are those of the pool in `store`; nothing is written before that is certain.
pub async fn open(config: &StoreConfig, store: &Store) -> Result<Vault, RotationError> {
    let known = store.list_keys().await?;
    keys_are_there(config, &known)?;
    let vault = Vault::from_config(config)?;
    checked(&vault, store, &known).await?;
    settle(&vault, store).await?;
    if let Some(said) = vault.file().and_then(KeyFile::exposure) {
        tracing::warn!("{said}");
    }
    Ok(vault)
}

/// Refuses the keys of `config` when they are not those of the pool in `store`; writes nothing, in the store or in files.
pub async fn refuse_wrong_keys(config: &StoreConfig, store: &Store) -> Result<(), RotationError> {
    match store.list_keys().await {
        Ok(known) if !known.is_empty() => {
            keys_are_there(config, &known)?;
            checked(&Vault::from_config(config)?, store, &known).await
        }
        // What keeps scripts from running is found out, and told, by the rehearsal.
        _ => Ok(()),
    }
}

/// A key file that the pool was sealed with must not be made anew.
fn keys_are_there(config: &StoreConfig, known: &[KnownKey]) -> Result<(), VaultError> {
    match KeyFile::of(config) {
        Some(file) if !known.is_empty() && file.read()?.is_none() => Err(VaultError::KeyFileMissing {
            path: file.path().to_owned(),
            ids: known.iter().map(|key| key.id.clone()).collect(),
        }),
        _ => Ok(()),
    }
}

/// [`check`]; who is refused is told which accounts it is about.
async fn checked(vault: &Vault, store: &Store, known: &[KnownKey]) -> Result<(), RotationError> {
    let mut refused = check(vault, known);
    if let Err(VaultError::Locked { ids, accounts, .. }) = &mut refused {
        // The refusal is worth more than a failure to explain it.
        *accounts = sealed_by(store, ids).await.unwrap_or_default();
    }
    Ok(refused?)
}

/// The e-mail addresses of the accounts whose credentials are sealed by one of these keys.
async fn sealed_by(store: &Store, ids: &[String]) -> Result<Vec<String>, StoreError> {
    let (mut sealed, mut cursor) = (HashSet::new(), Some(0));
    while let Some(from) = cursor {
        let page = store.list_sealed(from, PAGE).await?;
        cursor = page.next;
        sealed.extend(page.secrets.into_iter().filter_map(|secret| {
            let text = Sealed::from_text(secret.sealed);
            let by = text.key_id().is_some_and(|id| ids.iter().any(|one| one == id));
            (by && secret.place == Place::Credential).then_some(secret.account)
        }));
    }
    let (mut emails, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let page = store.list_accounts(from, PAGE, &[]).await?;
        after = page.next;
        let theirs = page.accounts.into_iter().filter(|account| sealed.contains(&account.id));
        emails.extend(theirs.map(|account| account.email));
    }
    Ok(emails)
}

/// Takes keys off the pool's list that `config` lacks, by which nothing is sealed any more and which no live gateway
/// has: they were lost, and what was sealed by them was given up. Answers their ids.
pub async fn forget_lost(config: &StoreConfig, store: &Store) -> Result<Vec<String>, RotationError> {
    let own = match KeyFile::of(config) {
        Some(file) => file.read()?.unwrap_or_default().iter().map(|key| key.id().to_owned()).collect(),
        None => Vault::new(&config.encryption_keys)?.key_ids(),
    };
    let known = store.list_keys().await?;
    let replicas = store.list_replicas().await?.replicas;
    let mut forgotten = Vec::new();
    for id in known.into_iter().map(|key| key.id).filter(|id| !own.contains(id)) {
        let lives = replicas.iter().any(|replica| replica.keys.contains(&id));
        if !lives && store.forget_key(&id).await? == Forgotten::Done {
            forgotten.push(id);
        }
    }
    Ok(forgotten)
}

/// Whether `vault` has every key that the pool knows.
fn check(vault: &Vault, known: &[KnownKey]) -> Result<(), VaultError> {
    let own = vault.key_ids();
    let missing: Vec<_> = known.iter().filter(|key| !own.contains(&key.id)).collect();
    if !missing.is_empty() {
        return Err(VaultError::Locked {
            ids: missing.iter().map(|key| key.id.clone()).collect(),
            credentials: missing.iter().map(|key| key.credentials).sum(),
            place: vault.place(),
            own,
            accounts: Vec::new(),
        });
    }
    let other = known.iter().find(|key| {
        key.sealed.as_ref().is_some_and(|sealed| !vault.knows(&Sealed::from_text(sealed.clone())))
    });
    match other {
        Some(key) => Err(VaultError::OtherKey { id: key.id.clone(), place: vault.place() }),
        None => Ok(()),
    }
}

/// Looks whether another key is to seal from now on: the newest that every live gateway has.
pub async fn follow(vault: &Vault, store: &Store) -> Result<(), RotationError> {
    // One who has a single key, which is the rule, has no choice.
    if vault.key_ids().len() > 1 && common(vault, store).await?.as_ref() != Some(&vault.sealing_id()?) {
        settle(vault, store).await?;
    }
    Ok(())
}

/// Returns when the pool's list has the key that seals, and everything that was written before is durable.
pub async fn flush(vault: &Vault, store: &Store) -> Result<(), RotationError> {
    settle(vault, store).await
}

/// The newest key that every live gateway has; without one the oldest, which others are the likeliest to have. A gateway
/// whose keys are in a file is alone.
async fn common(vault: &Vault, store: &Store) -> Result<Option<String>, StoreError> {
    let mut own = vault.key_ids();
    if vault.keys_in_file() {
        return Ok(own.into_iter().next());
    }
    let replicas = store.list_replicas().await?.replicas;
    let place = own.iter().position(|id| replicas.iter().all(|one| one.keys.contains(id)));
    Ok(match place {
        Some(place) => Some(own.swap_remove(place)),
        None => own.pop(),
    })
}

/// Chooses the key to seal with. It is on the pool's list before anything is sealed by it.
async fn settle(vault: &Vault, store: &Store) -> Result<(), RotationError> {
    // Before anything is looked at: a rotation may replace the keys until then.
    let _held = vault.nothing_storing().await;
    let own = vault.key_ids();
    let Some(id) = &common(vault, store).await? else { return Ok(()) };
    let before = vault.sealing_id()?;
    vault.seal_with(|key| key == id);
    match store.add_key(id, vault.canary()?.as_str(), &own).await {
        Ok(AddedKey::Done | AddedKey::Known) => Ok(()),
        // Somebody else began with another key in the same moment.
        Ok(AddedKey::Foreign(foreign)) => {
            vault.seal_with(|key| *key == before);
            let (ids, place) = (vec![foreign], vault.place());
            Err(VaultError::Locked { ids, credentials: 0, place, own, accounts: Vec::new() }.into())
        }
        Err(error) => {
            vault.seal_with(|key| *key == before);
            Err(error.into())
        }
    }
}

/// Seals everything with the newest key that is not, and says which older keys are needed no more. With `new_key`
/// that key is made first; older ones then leave the key file as soon as nothing is sealed by them.
///
/// May be repeated, and ended at any moment: each secret is replaced by itself, if it is still the one that was read.
/// A second one in this process waits for the first.
/// `own` is the caller, when it is one of the gateways that are announced.
pub async fn rotate(
    vault: &Vault,
    store: &Store,
    own: Option<&ReplicaId>,
    new_key: bool,
) -> Result<Rotated, RotationError> {
    let _turn = vault.rotating().await;
    if new_key {
        let file = vault.file().ok_or(RotationError::NotAFile)?;
        let held = vault.nothing_storing().await;
        file.add_key()?;
        vault.reload(file, &held)?;
    }
    let newest = vault.key_ids().first().cloned().ok_or(VaultError::NoKey)?;
    if vault.file().is_none() {
        let replicas = store.list_replicas().await?.replicas;
        for replica in replicas.into_iter().filter(|one| Some(&one.id) != own) {
            let (host, id) = (replica.host, newest.clone());
            match replica.keys.first() {
                Some(first) if *first == newest => {}
                Some(_) if replica.keys.contains(&newest) => return Err(RotationError::Early { host, id }),
                _ => return Err(RotationError::Behind { host, id }),
            }
        }
    }
    settle(vault, store).await?;
    let mut rotated = Rotated { newest: newest.clone(), ..Rotated::default() };
    for _ in 0..PASSES {
        if pass(vault, store, &mut rotated).await? == 0 {
            break;
        }
    }
    // Only keys behind the newest: one that stands before it, or that only others have, came later.
    let older = vault.key_ids().into_iter().skip_while(|id| *id != newest).skip(1);
    for id in older {
        match store.forget_key(&id).await? {
            Forgotten::Done => rotated.retired.push(id),
            Forgotten::Used(secrets) => rotated.needed.push((id, secrets)),
        }
    }
    if let Some(file) = vault.file() {
        let held = vault.nothing_storing().await;
        let sealing = vault.sealing_id()?;
        if file.retain(|id| id == sealing || !rotated.retired.iter().any(|retired| retired == id))? {
            vault.reload(file, &held)?;
        }
    }
    Ok(rotated)
}

/// Looks at everything once; answers how much was found that is sealed by an older key.
async fn pass(vault: &Vault, store: &Store, rotated: &mut Rotated) -> Result<u64, RotationError> {
    let (mut cursor, mut found) = (Some(0), 0);
    rotated.unreadable.clear();
    while let Some(from) = cursor {
        let page = store.list_sealed(from, PAGE).await?;
        cursor = page.next;
        for secret in page.secrets {
            let sealed = Sealed::from_text(secret.sealed.clone());
            if sealed.key_id() == Some(&rotated.newest) {
                continue;
            }
            let aad = aad(&secret);
            let _storing = vault.storing().await;
            match vault.open(&aad, &sealed) {
                Ok(plain) => {
                    found += 1;
                    let anew = vault.seal(&aad, &plain)?;
                    rotated.resealed += u64::from(store.reseal(&secret, anew.as_str()).await?);
                }
                Err(error) => rotated.unreadable.push(Unreadable {
                    account: secret.account.to_string(),
                    place: secret.place,
                    reason: error.to_string(),
                }),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
