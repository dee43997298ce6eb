use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde_json::json;

use super::*;
use crate::account::export::document;
use crate::store::ops::signins::SignedIn;
use crate::store::unsteady::{Unsteady, add_account};

const LOST: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OWN: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

fn vault(key: &str) -> Arc<Vault> {
    Arc::new(Vault::new(&[key.into()]).unwrap())
}

/// A pool with an account whose key is lost, between two that open.
async fn pool() -> (Store, Directory) {
    let store = Unsteady::new(Clock::system()).pool();
    for (name, key) in [("a", OWN), ("lost", LOST), ("z", OWN)] {
        let sealed = vault(key).seal(&credential_aad(name), &format!("token-{name}").into()).unwrap();
        add_account(&store, &AccountId::new(name).unwrap(), Source::OAuth, sealed.as_str()).await;
    }
    let directory = Directory::new(store.clone(), vault(OWN), Clock::system());
    (store, directory)
}

async fn email_of(directory: &Directory, id: &str) -> String {
    let accounts = directory.list(&[]).await.unwrap();
    accounts.readable.into_iter().find(|account| account.id.as_str() == id).unwrap().email
}

#[tokio::test]
async fn signing_in_again_repairs_a_credential_that_does_not_open() {
    let (_store, directory) = pool().await;
    let email = email_of(&directory, "lost").await;
    // Without a token there is nothing to put in its place.
    let refused = directory.sign_in(&email, None).await.unwrap_err();
    assert!(matches!(refused, DirectoryError::Vault(VaultError::UnknownKey { .. })), "{refused}");
    let stored = directory.sign_in(&email, Some(&"new".into())).await.unwrap();
    assert_eq!(stored, SignInStored::Done(SignedIn::Renewed));
    let found = directory.entries(&[]).await.unwrap();
    assert!(found.unreadable.is_empty(), "{:?}", found.unreadable);
    let entry = found.entries.iter().find(|entry| entry.email == email).unwrap();
    assert_eq!(entry.credential.as_ref().unwrap().expose_secret(), "new");
}

#[tokio::test]
async fn one_credential_that_does_not_open_leaves_the_others_alone() {
    let (store, directory) = pool().await;
    let email = email_of(&directory, "lost").await;
    let found = directory.entries(&[]).await.unwrap();
    assert_eq!((found.entries.len(), found.unreadable.len()), (2, 1));
    assert_eq!(found.unreadable[0].email, email);
    assert!(found.unreadable[0].reason.contains("72cd6e84"), "{:?}", found.unreadable);
    let told = document(&found.entries, &found.unreadable);
    assert_eq!(told["accounts"].as_array().unwrap().len(), 2);
    assert_eq!(told["unreadable"], json!([{ "email": email, "reason": found.unreadable[0].reason }]));
    assert_eq!(directory.export().await.unwrap().len(), 2);

    // What comes in for it is told to fail, and stays out; the others fare as always.
    let before = store.get_credential(&AccountId::new("lost").unwrap()).await.unwrap();
    for known in [Known::Keep, Known::Replace] {
        for entry in &found.entries {
            assert_eq!(directory.merge(entry, known, true).await.unwrap(), Merged::Same);
        }
        let text = json!([{ "email": email, "refreshToken": "new" }]).to_string();
        let entry = &import::parse(text.as_bytes()).unwrap().0[0];
        let merged = directory.merge(entry, known, true).await.unwrap();
        assert_eq!(merged, Merged::Refused(found.unreadable[0].reason.clone()));
    }
    assert_eq!(store.get_credential(&AccountId::new("lost").unwrap()).await.unwrap(), before);

    // Everybody opens again: the document has no word of it.
    assert!(directory.remove(&email, &[]).await.unwrap());
    let found = directory.entries(&[]).await.unwrap();
    assert!(document(&found.entries, &found.unreadable).get("unreadable").is_none());
}

#[tokio::test]
async fn who_wants_one_account_reads_one() {
    let host = Unsteady::new(Clock::system());
    let directory = Directory::new(host.pool(), vault(OWN), Clock::system());
    let document =
        json!([{ "email": "a@b.com", "refreshToken": "one" }, { "email": "c@d.com", "refreshToken": "two" }]);
    let entries = import::parse(document.to_string().as_bytes()).unwrap().0;
    directory.import(document.to_string().as_bytes()).await.unwrap();
    host.batches();
    assert_eq!(directory.merge(&entries[1], Known::Keep, true).await.unwrap(), Merged::Same);
    assert_eq!(host.batches(), [["get_account"]]);
    assert_eq!(directory.account(" C@d.com ").await.unwrap().unwrap().view.email, "c@d.com");
    assert_eq!(host.batches(), [["get_account"]]);
    // Its credential of before is kept.
    let kept = directory.sign_in("c@d.com", None).await.unwrap();
    assert_eq!(kept, SignInStored::Done(SignedIn::Renewed));
    assert_eq!(host.batches(), [["find_account"], ["get_account"], ["put_account"]]);
    assert_eq!(directory.merge(&entries[1], Known::Keep, true).await.unwrap(), Merged::Same);
}

#[tokio::test]
async fn what_is_listed_has_the_stores_time() {
    let (store, _) = pool().await;
    for at in [1_234_567_890_123, 4_102_444_800_000] {
        let listed = list(&store.at(at), &[]).await.unwrap();
        assert_eq!((listed.now_ms, listed.readable.len()), (at, 3));
    }
}
