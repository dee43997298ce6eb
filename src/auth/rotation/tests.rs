use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::Clock;
use crate::store::ident::{AccountId, CredentialVersion, OwnerId, Source, Version};
use crate::store::ops::replicas::{Announcement, ReplicaState};
use crate::store::ops::tokens::{FinishedRefresh, Refresh};
use crate::store::unsteady::{Unsteady, add_account};

const MINUTE: std::time::Duration = std::time::Duration::from_mins(1);

fn key(byte: u8) -> SecretString {
    STANDARD.encode([byte; 32]).into()
}

fn config(keys: &[u8]) -> StoreConfig {
    StoreConfig { encryption_keys: keys.iter().copied().map(key).collect(), ..StoreConfig::default() }
}

fn id_of(byte: u8) -> String {
    Vault::new(&[key(byte)]).unwrap().key_ids().remove(0)
}

fn a() -> AccountId {
    AccountId::new("a").unwrap()
}

fn ids(file: &KeyFile) -> Vec<String> {
    file.read().unwrap().unwrap().iter().map(|key| key.id().to_owned()).collect()
}

/// The account `a` with a credential and a token, sealed by `vault`.
async fn furnish(store: &Store, vault: &Vault) {
    let sealed = vault.seal(&credential_aad("a"), &"refresh".into()).unwrap();
    add_account(store, &a(), Source::OAuth, sealed.as_str()).await;
    let owner = OwnerId::new("me").unwrap();
    assert!(matches!(store.begin_refresh(&a(), &owner, MINUTE).await.unwrap(), Refresh::Granted { .. }));
    let token = vault.seal(&token_aad("a"), &"access".into()).unwrap();
    let kept =
        store.finish_refresh(&a(), &owner, CredentialVersion(1), MINUTE, token.as_str()).await.unwrap();
    assert!(matches!(kept, FinishedRefresh::Kept(_)));
}

async fn announce(store: &Store, name: &str, keys: &[String]) {
    let id = ReplicaId::new(name).unwrap();
    let announcement = Announcement {
        id: &id,
        ttl: MINUTE,
        host: name,
        uptime: MINUTE,
        in_flight: 0,
        generation: Version(0),
        state: ReplicaState::Serving,
        keys,
    };
    store.announce_replica(&announcement).await.unwrap();
}

async fn secrets(store: &Store) -> Vec<(Place, String)> {
    let page = store.list_sealed(0, 10).await.unwrap();
    page.secrets.into_iter().map(|secret| (secret.place, secret.sealed)).collect()
}

fn world() -> (Arc<Unsteady>, Store) {
    let host = Unsteady::new(Clock::system());
    let store = host.pool();
    (host, store)
}

#[tokio::test]
async fn a_wrong_key_is_refused_also_by_an_empty_pool() {
    let (_host, store) = world();
    open(&config(&[1]), &store).await.unwrap();
    let before = store.list_keys().await.unwrap();
    let error = open(&config(&[2]), &store).await.unwrap_err().to_string();
    for part in [&id_of(1), &id_of(2), "ENCRYPTION_KEYS", "POOL", "nothing was changed"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(store.list_keys().await.unwrap(), before);
    open(&config(&[2, 1]), &store).await.unwrap();
    let error = open(&config(&[1]), &store).await.unwrap_err();
    assert!(matches!(error, RotationError::Vault(VaultError::Locked { .. })), "{error}");
}

#[tokio::test]
async fn credentials_of_a_pool_without_a_list_are_enough_to_know_its_keys() {
    let (_host, store) = world();
    furnish(&store, &Vault::new(&[key(1)]).unwrap()).await;
    let error = open(&config(&[2]), &store).await.unwrap_err().to_string();
    assert!(error.contains("(1 credentials)"), "{error}");
    assert!(store.list_keys().await.unwrap().iter().all(|key| key.sealed.is_none()));
    open(&config(&[1]), &store).await.unwrap();
}

#[tokio::test]
async fn another_key_of_the_same_id_is_noticed() {
    let (_host, store) = world();
    let other = Vault::new(&[key(2)]).unwrap().canary().unwrap().into_text();
    let posing = other.replace(&id_of(2), &id_of(1));
    store.add_key(&id_of(1), &posing, &[id_of(1)]).await.unwrap();
    let error = open(&config(&[1]), &store).await.unwrap_err();
    assert!(matches!(error, RotationError::Vault(VaultError::OtherKey { .. })), "{error}");
}

#[tokio::test]
async fn a_lost_key_file_is_not_replaced() {
    let (_host, store) = world();
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { data_dir: dir.path().to_owned(), ..StoreConfig::default() };
    let path = dir.path().join("encryption.key");
    open(&config, &store).await.unwrap();
    let text = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = open(&config, &store).await.unwrap_err().to_string();
    assert!(error.contains("encryption.key is missing"), "{error}");
    assert!(!path.exists());
    std::fs::write(&path, text).unwrap();
    open(&config, &store).await.unwrap();
}

#[tokio::test]
async fn everything_is_sealed_anew_and_the_old_key_retires() {
    let (_host, store) = world();
    furnish(&store, &open(&config(&[1]), &store).await.unwrap()).await;
    let before = secrets(&store).await;
    let vault = open(&config(&[2, 1]), &store).await.unwrap();
    let rotated = rotate(&vault, &store, None, false).await.unwrap();
    let expected = Rotated { newest: id_of(2), resealed: 2, retired: vec![id_of(1)], ..Rotated::default() };
    assert_eq!(rotated, expected);
    let after = secrets(&store).await;
    assert_eq!(after.len(), before.len());
    // The new key alone opens all of it.
    let vault = open(&config(&[2]), &store).await.unwrap();
    for ((place, sealed), aad, text) in
        [(&after[0], credential_aad("a"), "refresh"), (&after[1], token_aad("a"), "access")]
    {
        let sealed = Sealed::from_text(sealed.clone());
        assert_eq!(vault.open(&aad, &sealed).unwrap().expose_secret(), text, "{place:?}");
    }
    let again = rotate(&vault, &store, None, false).await.unwrap();
    assert_eq!(again, Rotated { newest: id_of(2), ..Rotated::default() });
    assert_eq!(secrets(&store).await, after);
}

#[tokio::test]
async fn a_new_key_seals_only_when_every_gateway_has_it() {
    let (_host, store) = world();
    let old = open(&config(&[1]), &store).await.unwrap();
    announce(&store, "old", &old.announced_ids()).await;
    let new = open(&config(&[2, 1]), &store).await.unwrap();
    assert_eq!(new.announced_ids(), [id_of(1), id_of(2)], "the old gateway could not open it");
    announce(&store, "new", &new.announced_ids()).await;
    // So the old one may even restart.
    open(&config(&[1]), &store).await.unwrap();
    let error = rotate(&new, &store, Some(&ReplicaId::new("new").unwrap()), false).await.unwrap_err();
    assert!(matches!(&error, RotationError::Behind { host, .. } if host == "old"), "{error}");

    let second = open(&config(&[2, 1]), &store).await.unwrap();
    announce(&store, "old", &second.announced_ids()).await;
    // One that has the key but does not seal with it yet.
    let error = rotate(&new, &store, Some(&ReplicaId::new("new").unwrap()), false).await.unwrap_err();
    assert!(matches!(&error, RotationError::Early { host, .. } if host == "old"), "{error}");
    follow(&second, &store).await.unwrap();
    assert_eq!(second.announced_ids(), [id_of(2), id_of(1)]);
    announce(&store, "old", &second.announced_ids()).await;
    follow(&new, &store).await.unwrap();
    announce(&store, "new", &new.announced_ids()).await;
    let rotated = rotate(&second, &store, None, false).await.unwrap();
    assert_eq!(rotated.retired, [id_of(1)]);
    assert!(open(&config(&[1]), &store).await.is_err());
}

#[tokio::test]
async fn two_pools_keys_never_meet_on_an_empty_pool() {
    let (_host, store) = world();
    // Both have looked before either wrote.
    let (one, two) = (Vault::new(&[key(1)]).unwrap(), Vault::new(&[key(2)]).unwrap());
    settle(&one, &store).await.unwrap();
    let error = settle(&two, &store).await.unwrap_err();
    assert!(matches!(error, RotationError::Vault(VaultError::Locked { .. })), "{error}");
    assert_eq!(store.list_keys().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_does_not_open_is_told_and_left() {
    let (_host, store) = world();
    let vault = open(&config(&[1]), &store).await.unwrap();
    furnish(&store, &vault).await;
    let lost = SealedSecret { account: a(), place: Place::Token, sealed: secrets(&store).await[1].1.clone() };
    let strange = Vault::new(&[key(3)]).unwrap().seal(&token_aad("a"), &"x".into()).unwrap();
    assert!(store.reseal(&lost, strange.as_str()).await.unwrap());
    let vault = open(&config(&[2, 1]), &store).await.unwrap();
    let rotated = rotate(&vault, &store, None, false).await.unwrap();
    assert_eq!((rotated.resealed, rotated.unreadable.len()), (1, 1));
    assert!(rotated.unreadable[0].reason.contains(&id_of(3)), "{:?}", rotated.unreadable);
    assert_eq!(secrets(&store).await[1].1, strange.as_str());
}

#[tokio::test]
async fn a_new_key_in_the_file_takes_over_and_the_old_one_leaves_it() {
    let (_host, store) = world();
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { data_dir: dir.path().to_owned(), ..StoreConfig::default() };
    let vault = open(&config, &store).await.unwrap();
    furnish(&store, &vault).await;
    let old = vault.key_ids();
    let rotated = rotate(&vault, &store, None, true).await.unwrap();
    assert_eq!((rotated.resealed, &rotated.retired), (2, &old));
    let file = KeyFile::of(&config).unwrap();
    assert_eq!((vault.key_ids(), ids(&file)), (vec![rotated.newest.clone()], vec![rotated.newest]));

    // Ended right after the new key was written: whoever starts has both, and the next rotation finishes.
    file.add_key().unwrap();
    let vault = open(&config, &store).await.unwrap();
    assert_eq!(vault.key_ids().len(), 2);
    let rotated = rotate(&vault, &store, None, false).await.unwrap();
    assert_eq!((rotated.resealed, ids(&file)), (2, vec![rotated.newest]));

    // Where keys are given, none is made.
    let given = Vault::new(&[key(1)]).unwrap();
    assert!(matches!(rotate(&given, &store, None, true).await, Err(RotationError::NotAFile)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotations_at_the_same_time_lose_nothing() {
    for accounts in 1..=3 {
        let (_host, store) = world();
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { data_dir: dir.path().to_owned(), ..StoreConfig::default() };
        let vault = Arc::new(open(&config, &store).await.unwrap());
        let names: Vec<_> = (0..accounts).map(|at| format!("a{at}")).collect();
        for name in &names {
            let sealed = vault.seal(&credential_aad(name), &name.as_str().into()).unwrap();
            add_account(&store, &AccountId::new(name).unwrap(), Source::OAuth, sealed.as_str()).await;
        }
        let first = vault.key_ids();
        let tasks = TaskTracker::new();
        let rotations: Vec<_> = (0..6)
            .map(|_| {
                let (vault, store) = (Arc::clone(&vault), store.clone());
                tasks.spawn(async move { rotate(&vault, &store, None, true).await.unwrap() })
            })
            .collect();
        let (mut newest, mut retired) = (Vec::new(), first);
        for rotation in rotations {
            let rotated = rotation.await.unwrap();
            assert!(rotated.unreadable.is_empty() && rotated.needed.is_empty(), "{rotated:?}");
            assert_eq!(rotated.resealed, accounts);
            newest.push(rotated.newest);
            retired.extend(rotated.retired);
        }
        // Each had its own new key; the last one is left, and was never given up.
        let left = vault.key_ids();
        assert_eq!((left.len(), ids(&KeyFile::of(&config).unwrap())), (1, left.clone()));
        newest.retain(|id| *id != left[0]);
        assert_eq!(newest.len(), 5);
        assert!(!retired.contains(&left[0]) && newest.iter().all(|id| retired.contains(id)), "{retired:?}");
        let restarted = open(&config, &store).await.unwrap();
        let page = store.list_sealed(0, 10).await.unwrap();
        assert_eq!(page.secrets.len(), names.len());
        for secret in page.secrets {
            let sealed = Sealed::from_text(secret.sealed);
            for vault in [&*vault, &restarted] {
                let text = vault.open(&credential_aad(secret.account.as_str()), &sealed).unwrap();
                assert_eq!(text.expose_secret(), secret.account.as_str());
            }
        }
    }
}
