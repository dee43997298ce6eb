//! Client keys: made, changed, rotated, revoked, used.

use antigravity_proxy::store::host::Event;
use antigravity_proxy::store::ident::{ClientId, Version};
use antigravity_proxy::store::ops::PoolEvent;
use antigravity_proxy::store::ops::clients::{
    ChangeClient, Client, ClientChange, Edit, Expiry, Looked, NewClient, PutClient,
};

use crate::harness::{Pool, T, ms, on_every_host};

const DAY: i64 = 86_400_000;

pub(crate) fn client(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

/// A key without end for all models.
pub(crate) fn new_client<'a>(id: &'a ClientId, name: &'a str) -> NewClient<'a> {
    NewClient { id, name, digest: "d1", expires: None, models: &[] }
}

async fn put(pool: &Pool, id: &str, name: &str, at: i64) -> PutClient {
    pool.store.at(at).put_client(&new_client(&client(id), name)).await.unwrap()
}

async fn change(pool: &Pool, id: &str, at: i64, change: ClientChange) -> ChangeClient {
    pool.store.at(at).change_client(&client(id), &change).await.unwrap()
}

fn revoke() -> ClientChange {
    ClientChange { revoke: true, ..ClientChange::default() }
}

async fn all(pool: &Pool) -> Vec<Client> {
    pool.store.at(T).list_clients(None).await.unwrap().clients.unwrap().clients
}

#[tokio::test]
pub(crate) async fn keys_are_made_and_listed_once_per_generation() {
    on_every_host(async |pool: Pool| {
        let nothing = pool.store.at(T).list_clients(Some(Version(0))).await.unwrap();
        assert_eq!(nothing, Looked { now_ms: T, clients: None }, "none was ever made");
        assert!(all(&pool).await.is_empty());

        let models = ["claude-*".to_owned(), "gemini-3-flash".to_owned()];
        let id = client("k2");
        let limited = NewClient {
            expires: Some(Expiry::After(ms(90 * 86_400_000))),
            models: &models,
            ..new_client(&id, "Bea's laptop")
        };
        assert_eq!(pool.store.at(T).put_client(&limited).await.unwrap(), PutClient::Done(Version(1)));
        assert_eq!(put(&pool, "k1", "ada", T + 7).await, PutClient::Done(Version(2)));
        assert_eq!(put(&pool, "k3", "ada", T + 8).await, PutClient::Taken);
        let looked = pool.store.at(T + 9).list_clients(Some(Version(1))).await.unwrap();
        let clients = looked.clients.unwrap();
        assert_eq!((looked.now_ms, clients.generation), (T + 9, Version(2)));
        let ada = Client {
            id: client("k1"),
            name: "ada".into(),
            digest: "d1".into(),
            created_ms: T + 7,
            expires_ms: None,
            models: Vec::new(),
            revoked_ms: None,
            before: None,
            used_ms: None,
        };
        let bea = Client {
            id: client("k2"),
            name: "Bea's laptop".into(),
            created_ms: T,
            expires_ms: Some(T + 90 * DAY),
            models: models.to_vec(),
            ..ada.clone()
        };
        assert_eq!(clients.clients, [ada, bea]);
        assert_eq!(pool.store.at(T).list_clients(Some(Version(2))).await.unwrap().clients, None);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_change_is_whole_or_refused() {
    on_every_host(async |pool: Pool| {
        assert_eq!(change(&pool, "k1", T, revoke()).await, ChangeClient::Unknown);
        put(&pool, "k1", "ada", T).await;
        put(&pool, "k2", "bea", T).await;
        let whole = ClientChange {
            name: Some("eve".into()),
            expires: Edit::Set(Expiry::At(253_402_300_799_999)),
            models: Edit::Set(vec!["m".into()]),
            ..ClientChange::default()
        };
        assert_eq!(change(&pool, "k1", T, whole).await, ChangeClient::Done(Version(3)));
        let eve = &all(&pool).await[0];
        assert_eq!((eve.name.as_str(), eve.expires_ms), ("eve", Some(253_402_300_799_999)));
        assert_eq!((&eve.models[..], eve.revoked_ms), (&["m".to_owned()][..], None));
        let taken = ClientChange { name: Some("bea".into()), models: Edit::Clear, ..ClientChange::default() };
        assert_eq!(change(&pool, "k1", T, taken).await, ChangeClient::Taken);
        assert_eq!(all(&pool).await[0], *eve, "nothing was changed");
        // Its own name is no other's; what is not named stays.
        let same = ClientChange { name: Some("eve".into()), ..ClientChange::default() };
        assert_eq!(change(&pool, "k1", T, same).await, ChangeClient::Done(Version(4)));
        assert_eq!(all(&pool).await[0], *eve);
        let after = ClientChange { expires: Edit::Set(Expiry::After(ms(1500))), ..ClientChange::default() };
        assert_eq!(change(&pool, "k1", T + 5, after).await, ChangeClient::Done(Version(5)));
        assert_eq!(all(&pool).await[0].expires_ms, Some(T + 1505));
        let endless = ClientChange { expires: Edit::Clear, ..ClientChange::default() };
        assert_eq!(change(&pool, "k1", T, endless).await, ChangeClient::Done(Version(6)));
        let endless = &all(&pool).await[0];
        assert_eq!((endless.expires_ms, endless.models.len()), (None, 1));
        let free = ClientChange { models: Edit::Clear, ..ClientChange::default() };
        assert_eq!(change(&pool, "k1", T, free).await, ChangeClient::Done(Version(7)));
        let free = &all(&pool).await[0];
        assert_eq!((free.expires_ms, free.models.len()), (None, 0));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_rotation_keeps_the_secret_before_for_its_grace() {
    on_every_host(async |pool: Pool| {
        put(&pool, "k1", "ada", T).await;
        let rotate = |digest: &str, grace| ClientChange {
            rotate: Some((digest.to_owned(), ms(grace))),
            ..ClientChange::default()
        };
        change(&pool, "k1", T + 5, rotate("d2", 60_000)).await;
        let ada = &all(&pool).await[0];
        assert_eq!((ada.digest.as_str(), ada.before.clone()), ("d2", Some(("d1".into(), T + 60_005))));
        change(&pool, "k1", T + 6, rotate("d3", 0)).await;
        let ada = &all(&pool).await[0];
        assert_eq!((ada.digest.as_str(), ada.before.clone()), ("d3", Some(("d2".into(), T + 6))));
        // Another change leaves both as they are.
        let models = ClientChange { models: Edit::Set(vec!["m".into()]), ..ClientChange::default() };
        change(&pool, "k1", T + 7, models).await;
        let after = &all(&pool).await[0];
        assert_eq!((&after.digest, &after.before), (&ada.digest, &ada.before));
        assert_eq!(after.created_ms, T);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_revoked_key_stays_revoked_and_gives_its_name_back() {
    on_every_host(async |pool: Pool| {
        put(&pool, "k1", "ada", T).await;
        assert_eq!(change(&pool, "k1", T + 3, revoke()).await, ChangeClient::Done(Version(2)));
        assert_eq!(change(&pool, "k1", T + 4, revoke()).await, ChangeClient::Revoked);
        let rename = ClientChange { name: Some("eve".into()), ..ClientChange::default() };
        assert_eq!(change(&pool, "k1", T + 4, rename).await, ChangeClient::Revoked);
        assert_eq!(all(&pool).await[0].revoked_ms, Some(T + 3));
        assert_eq!(put(&pool, "k0", "ada", T + 5).await, PutClient::Done(Version(3)));
        assert_eq!(
            put(&pool, "k2", "ada", T + 6).await,
            PutClient::Taken,
            "behind a revoked one of the name"
        );
        let names: Vec<_> = all(&pool).await.into_iter().map(|one| (one.name, one.revoked_ms)).collect();
        assert_eq!(names, [("ada".to_owned(), None), ("ada".to_owned(), Some(T + 3))]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn the_last_use_is_kept_to_the_minute_and_changes_no_generation() {
    on_every_host(async |pool: Pool| {
        put(&pool, "k1", "ada", T).await;
        put(&pool, "k2", "bea", T).await;
        let minute = T - T % 60_000;
        let touch = async |at: i64, uses: &[(&str, u64)]| {
            let uses: Vec<_> = uses.iter().map(|(id, ago)| (client(id), ms(*ago))).collect();
            pool.store.at(at).touch_clients(&uses).await.unwrap();
        };
        let used = async || -> Vec<_> { all(&pool).await.into_iter().map(|one| one.used_ms).collect() };
        touch(T, &[]).await;
        assert_eq!(used().await, [None, None]);
        touch(minute + 120_999, &[("k1", 0), ("gone", 0)]).await;
        assert_eq!(used().await, [Some(minute + 120_000), None]);
        touch(minute + 150_000, &[("k1", 0)]).await;
        // What another gateway tells late is older; a whole minute later is newer.
        touch(minute + 130_000, &[("k1", 70_000), ("k2", 70_000)]).await;
        assert_eq!(used().await, [Some(minute + 120_000), Some(minute + 60_000)]);
        touch(minute + 180_000, &[("k1", 0)]).await;
        assert_eq!(used().await, [Some(minute + 180_000), Some(minute + 60_000)]);
        assert_eq!(pool.store.at(T).list_clients(Some(Version(2))).await.unwrap().clients, None);
        assert_eq!(pool.hash("keyuse").await.len(), 2, "an unknown key is not remembered");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn records_of_a_later_layout_are_kept_and_damaged_ones_let_nobody_in() {
    on_every_host(async |pool: Pool| {
        let later = ["2", "ada", "d1", "7", "", "", "", "", "", "budget=5", ""].join("\u{1f}");
        pool.put_field("keys", "k1", later.as_bytes()).await;
        pool.put_field("keys", "k0", b"3\x1fada\x1fd0").await;
        pool.put_field("keys", "k2", b"").await;
        pool.put_field("keys", "k4", b"1\x1fbea\x1fd4\x1f7\x1f\x1f\x1f\x1f").await;
        assert_eq!(all(&pool).await.len(), 1);
        assert_eq!(put(&pool, "k3", "ada", T).await, PutClient::Taken);
        assert_eq!(change(&pool, "k0", T, revoke()).await, ChangeClient::Unknown);
        assert_eq!(change(&pool, "k1", T, revoke()).await, ChangeClient::Done(Version(1)));
        let kept = String::from_utf8(pool.field("keys", "k1").await.unwrap()).unwrap();
        assert_eq!(
            kept,
            ["2", "ada", "d1", "7", "", "", &T.to_string(), "", "", "budget=5", ""].join("\u{1f}")
        );
    })
    .await;
}

#[tokio::test]
pub(crate) async fn beyond_the_most_the_one_revoked_first_is_forgotten() {
    on_every_host(async |pool: Pool| {
        // As the wrapper calls, but with a small bound.
        let put = async |id: &str, name: &str, most: usize| {
            let mut call =
                antigravity_proxy::store::host::Call::new(&antigravity_proxy::store::registry::PUT_CLIENT);
            for key in ["meta", "keys", "keyuse", "audit"] {
                call = call.key(pool.key(key));
            }
            let call = call.arg(id).arg(name).arg("d").arg("").arg("").arg(most).arg("ch").arg("").arg(T);
            let replies = pool.host.eval(vec![call]).await.unwrap();
            replies[0].as_array().unwrap()[0].as_str().unwrap().to_owned()
        };
        for id in ["b", "a", "c"] {
            assert_eq!(put(id, id, 3).await, "OK");
        }
        assert_eq!(put("d", "d", 3).await, "FULL");
        pool.put_field("keys", "damaged", b"9").await;
        for (id, at) in [("c", T + 2), ("a", T + 2), ("b", T + 1)] {
            change(&pool, id, at, revoke()).await;
        }
        pool.store.at(T).touch_clients(&[(client("b"), ms(0)), (client("c"), ms(0))]).await.unwrap();
        assert_eq!(put("d", "d", 5).await, "OK");
        assert_eq!(put("e", "e", 5).await, "OK");
        let ids = async || -> Vec<_> { all(&pool).await.into_iter().map(|one| one.id.to_string()).collect() };
        assert_eq!(ids().await, ["a", "c", "d", "e"]);
        assert_eq!(pool.hash("keyuse").await.into_keys().collect::<Vec<_>>(), ["c"]);
        // Of two revoked in one moment, the first id.
        assert_eq!(put("f", "f", 5).await, "OK");
        assert_eq!(ids().await, ["c", "d", "e", "f"]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn changes_of_keys_are_published() {
    on_every_host(async |pool: Pool| {
        let mut events = pool.store.subscribe();
        let channel = pool.keys.channel();
        put(&pool, "k1", "ada", T).await;
        put(&pool, "k2", "ada", T).await;
        pool.store.at(T).touch_clients(&[(client("k1"), ms(0))]).await.unwrap();
        change(&pool, "k1", T, revoke()).await;
        for generation in 1..=2 {
            let event: Event = tokio::time::timeout(ms(20_000), events.recv()).await.unwrap().unwrap();
            assert_eq!(PoolEvent::parse(&channel, &event), Some(PoolEvent::Clients));
            let Event::Message { payload, .. } = event else { panic!("{event:?}") };
            let start = format!("keys {generation} ");
            assert!(payload.starts_with(start.as_bytes()), "{payload:?}");
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn names_and_models_that_would_break_the_record_are_refused() {
    let pool = Pool::new(std::sync::Arc::new(crate::harness::embedded()));
    let id = client("k1");
    assert!(pool.store.put_client(&new_client(&id, "a\u{1f}b")).await.is_err());
    for model in ["", "a b", "a\u{1f}b"] {
        let models = [model.to_owned()];
        let new = NewClient { models: &models, ..new_client(&id, "ada") };
        assert!(pool.store.put_client(&new).await.is_err(), "{model:?}");
        let change = ClientChange { models: Edit::Set(models.to_vec()), ..ClientChange::default() };
        assert!(pool.store.change_client(&id, &change).await.is_err(), "{model:?}");
    }
}
