//! Encryption keys: rotated while gateways serve, and wrong ones at start.

use std::sync::{Arc, Mutex};

use antigravity_proxy::auth::Vault;
use serde_json::{Value, json};

use crate::gateway::{Gateway, Home, SOON, until};
use crate::http;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::simulator::Simulator;
use crate::site::{BRISK, ENCRYPTION_KEY, NEWER_KEY, Site};

const CONFIG: i32 = 78;

fn id_of(key: &str) -> String {
    Vault::new(&[key.into()]).unwrap().key_ids().remove(0)
}

/// Whether anything in Redis was sealed with the key.
fn is_used(site: &Site, key: &str) -> bool {
    let mark = format!("v1.{}.", id_of(key));
    Ledger::new(&site.redis).contents().values().any(|(_, entries)| {
        entries.iter().flatten().any(|text| text.windows(mark.len()).any(|part| part == mark.as_bytes()))
    })
}

async fn end(mut gateway: Gateway) {
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success(), "{}", gateway.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_in_one_rollout_and_no_request_notices() {
    let site = Site::start(3).await;
    let both = format!("{NEWER_KEY},{ENCRYPTION_KEY}");
    let old = [site.home(), site.home()];
    let new: Vec<_> = (0..2).map(|_| site.home().env("ENCRYPTION_KEYS", &both)).collect();
    let mut serving = vec![old[0].start().await, old[1].start().await];
    let urls = Arc::new(Mutex::new(serving.iter().map(|gateway| gateway.url.clone()).collect::<Vec<_>>()));
    let (route, turn) = (Arc::clone(&urls), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let load = Load::start(6, BRISK, move || {
        let urls = route.lock().unwrap();
        urls[turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % urls.len()].clone()
    });
    let more = async |count: usize| {
        let before = load.answered();
        until("answers", async || load.answered() >= before + count).await;
    };
    more(10).await;
    // The rollout: each of the old ones gives way to a new one, and tokens are fetched all the time.
    for home in &new {
        let next = home.start().await;
        urls.lock().unwrap().push(next.url.clone());
        serving.push(next);
        site.simulator.expire_tokens().await;
        more(20).await;
        let early = home.run(&["accounts", "rotate-keys"], b"").await;
        assert_eq!(early.code, Some(1), "{}{}", early.out, early.err);
        assert!(
            early.err.contains(&id_of(NEWER_KEY)) && early.err.contains("nothing was changed"),
            "{}",
            early.err
        );
        assert!(!is_used(&site, NEWER_KEY), "nobody seals with what another cannot open");
        let leaving = serving.remove(0);
        urls.lock().unwrap().remove(0);
        end(leaving).await;
    }
    // The last of the old ones has gone: soon all seal with the new key.
    let mut answer = Value::Null;
    until("the keys are rotated", async || {
        let ended = new[0].run(&["accounts", "rotate-keys", "--json"], b"").await;
        assert!(!ended.out.contains(NEWER_KEY) && !ended.err.contains(NEWER_KEY));
        answer = serde_json::from_str(&ended.out).unwrap_or_default();
        assert!(ended.code == Some(0) || ended.err.contains("try again"), "{}{}", ended.out, ended.err);
        ended.code == Some(0)
    })
    .await;
    let rotation = &answer["rotation"];
    assert_eq!(rotation["newest"], id_of(NEWER_KEY), "{answer}");
    assert_eq!(rotation["retired"], json!([id_of(ENCRYPTION_KEY)]), "{answer}");
    assert!(rotation["resealed"].as_u64().unwrap() >= 3, "{answer}");
    assert!(!is_used(&site, ENCRYPTION_KEY) && is_used(&site, NEWER_KEY));
    site.simulator.expire_tokens().await;
    more(20).await;
    // The second rollout: without the old key.
    let alone = site.home().env("ENCRYPTION_KEYS", NEWER_KEY);
    let last = alone.start().await;
    urls.lock().unwrap().push(last.url.clone());
    more(20).await;
    urls.lock().unwrap().drain(..2);
    for gateway in serving.drain(..) {
        end(gateway).await;
    }
    more(10).await;
    load.finish().await.assert_whole();
    assert!(!is_used(&site, ENCRYPTION_KEY));
    end(last).await;
    let ended = old[0].run(&["serve"], b"").await;
    assert_eq!(ended.code, Some(CONFIG), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_before_anything_is_written() {
    let site = Site::start(2).await;
    let mut ledger = Ledger::new(&site.redis);
    let before = ledger.contents();
    let wrong = site.home().env("ENCRYPTION_KEYS", NEWER_KEY);
    for command in
        [&["serve"][..], &["accounts", "export"], &["accounts", "import", "-"], &["accounts", "rotate-keys"]]
    {
        let ended = wrong.run(command, site.simulator.accounts.to_string().as_bytes()).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(CONFIG), ""), "{command:?}: {}", ended.err);
        for part in ["2 credentials", &id_of(ENCRYPTION_KEY), &id_of(NEWER_KEY), "ENCRYPTION_KEYS"] {
            assert!(ended.err.contains(part), "{part}: {}", ended.err);
        }
        assert!(!ended.err.contains(NEWER_KEY));
        assert!(
            ended.err.contains("`accounts remove`") && ended.err.contains("user2@example.com"),
            "{}",
            ended.err
        );
        let after = ledger.contents();
        assert_eq!(after, before, "{command:?} changed the store");
    }
    let out = wrong.succeed(&["accounts", "list"], b"").await;
    assert!(out.contains("user1@example.com"), "{out}");
    assert_eq!(ledger.contents(), before, "listing takes no key and changes nothing");
    let gateway = site.home().start().await;
    assert_eq!(gateway.ask("reply with exactly: fine").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_does_not_open_is_left_out_of_an_export() {
    let site = Site::start(3).await;
    let mut ledger = Ledger::new(&site.redis);
    let credentials = ledger.key("cred");
    let mut ids: Vec<String> = redis::cmd("HKEYS").arg(&credentials).query(ledger.connection()).unwrap();
    ids.sort();
    // The sealed text of another account.
    let text: String = redis::cmd("HGET").arg(&credentials).arg(&ids[0]).query(ledger.connection()).unwrap();
    redis::cmd("HSET").arg(&credentials).arg(&ids[1]).arg(text).exec(ledger.connection()).unwrap();
    let home = site.home();
    let exported = async || {
        let ended = home.run(&["accounts", "export"], b"").await;
        assert_eq!(ended.code, Some(4), "{}", ended.err);
        assert!(
            ended.err.contains("user2@example.com is left out: a stored secret does not open"),
            "{}",
            ended.err
        );
        let document: Value = serde_json::from_str(&ended.out).unwrap();
        let emails: Vec<_> =
            document["accounts"].as_array().unwrap().iter().map(|one| one["email"].clone()).collect();
        assert_eq!(emails, ["user1@example.com", "user3@example.com"]);
        assert!(document.get("unreadable").is_none());
    };
    exported().await;
    let gateway = home.start().await;
    exported().await;
    let short = http::get(&format!("{}/api/accounts/export", gateway.url)).await.json();
    assert_eq!(short.as_array().unwrap().len(), 2);
    // Importing it again repairs it.
    home.succeed(&["accounts", "import", "-"], site.simulator.accounts.to_string().as_bytes()).await;
    home.succeed(&["accounts", "export"], b"").await;
    end(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_under_a_lost_key_are_given_up_and_added_again() {
    let site = Site::start(2).await;
    let new = site.home().env("ENCRYPTION_KEYS", NEWER_KEY);
    new.succeed(&["accounts", "remove", "user1@example.com", "--yes"], b"").await;
    let ended = new.run(&["accounts", "verify"], b"").await;
    assert_eq!(ended.code, Some(CONFIG), "one is left: {}", ended.err);
    assert!(!ended.err.contains("user1@") && ended.err.contains("user2@example.com"), "{}", ended.err);
    new.succeed(&["accounts", "remove", "user2@example.com", "--yes"], b"").await;
    new.succeed(&["accounts", "import", "-"], site.simulator.accounts.to_string().as_bytes()).await;
    let gateway = new.start().await;
    assert_eq!(gateway.ask("reply with exactly: fine").await.status, 200);
    end(gateway).await;

    // A lost file, likewise.
    let home = Home::with(&site.simulator);
    home.succeed(&["accounts", "import", "-"], site.simulator.accounts.to_string().as_bytes()).await;
    std::fs::remove_file(home.data().join("encryption.key")).unwrap();
    let ended = home.run(&["serve"], b"").await;
    assert_eq!(ended.code, Some(CONFIG), "{}", ended.err);
    assert!(ended.err.contains("`accounts clear`"), "{}", ended.err);
    home.succeed(&["accounts", "clear", "--yes"], b"").await;
    home.succeed(&["accounts", "import", "-"], site.simulator.accounts.to_string().as_bytes()).await;
    let gateway = home.start().await;
    assert_eq!(gateway.ask("reply with exactly: fine").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_knows_its_key_before_it_has_an_account() {
    let site = Site::start(1).await;
    let redis = &site.redis;
    let mut ledger = Ledger::new(redis);
    redis::cmd("FLUSHALL").query::<()>(ledger.connection()).unwrap();
    let first = site.home().start().await;
    let ended = site.home().env("ENCRYPTION_KEYS", NEWER_KEY).run(&["serve"], b"").await;
    assert_eq!(ended.code, Some(CONFIG), "{}", ended.err);
    assert!(ended.err.contains(&id_of(ENCRYPTION_KEY)), "{}", ended.err);
    // Another store comes up in the place of the first.
    let list = ledger.key("vault");
    redis::cmd("FLUSHALL").query::<()>(ledger.connection()).unwrap();
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).query::<u32>(ledger.connection()).unwrap();
    until("the key is on its list", async || {
        redis::cmd("HEXISTS").arg(&list).arg(id_of(ENCRYPTION_KEY)).query(ledger.connection()).unwrap()
    })
    .await;
    // The store is emptied, and no connection is lost by it.
    redis::cmd("FLUSHALL").query::<()>(ledger.connection()).unwrap();
    until("the key is on its list again", async || {
        redis::cmd("HEXISTS").arg(&list).arg(id_of(ENCRYPTION_KEY)).query(ledger.connection()).unwrap()
    })
    .await;
    end(first).await;
    let ended = site.home().env("ENCRYPTION_KEYS", "").run(&["serve"], b"").await;
    assert_eq!(ended.code, Some(CONFIG), "{}", ended.err);
    assert!(ended.err.contains("openssl rand -base64 32"), "{}", ended.err);
}

fn keys_in(home: &Home) -> Vec<String> {
    let text = std::fs::read_to_string(home.data().join("encryption.key")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Whether any file of the data directory has something sealed with the key.
fn is_on_disk(home: &Home, key: &str) -> bool {
    let mark = format!("v1.{}.", id_of(key));
    std::fs::read_dir(home.data()).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        bytes.windows(mark.len()).any(|part| part == mark.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptops_key_file_is_renewed_with_a_gateway_and_without() {
    let simulator = Simulator::with_accounts(3).await;
    let home = Home::with(&simulator);
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let first = keys_in(&home);
    assert!(is_on_disk(&home, &first[0]));
    let out = home.succeed(&["accounts", "rotate-keys", "--new-key"], b"").await;
    assert!(out.contains("3 secrets sealed anew") && out.contains(&id_of(&first[0])), "{out}");
    let second = keys_in(&home);
    assert!(second.len() == 1 && second != first);
    assert!(!out.contains(&second[0]), "{out}");
    assert!(!is_on_disk(&home, &first[0]) && is_on_disk(&home, &second[0]));

    let gateway = home.start().await;
    let url = gateway.url.clone();
    let load = Load::start(4, "reply with exactly: fine", move || url.clone());
    until("answers", async || load.answered() > 10).await;
    simulator.expire_tokens().await;
    let out = home.succeed(&["accounts", "rotate-keys", "--new-key"], b"").await;
    assert!(out.contains("sealed anew"), "{out}");
    let third = keys_in(&home);
    assert!(third.len() == 1 && third != second);
    simulator.expire_tokens().await;
    let before = load.answered();
    until("answers", async || load.answered() > before + 20).await;
    load.finish().await.assert_whole();
    assert!(!is_on_disk(&home, &second[0]) && is_on_disk(&home, &third[0]));
    gateway.kill().await;
    let gateway = home.start().await;
    assert_eq!(gateway.ask("reply with exactly: fine").await.status, 200);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(home.data().join("encryption.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    end(gateway).await;

    // Another file, or none, is refused, and the journal stays as it is.
    let journal = |home: &Home| {
        let mut files: Vec<_> =
            std::fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
            .into_iter()
            .filter(|path| !path.ends_with("encryption.key"))
            .map(|path| std::fs::read(path).ok())
            .collect::<Vec<_>>()
    };
    let (path, before) = (home.data().join("encryption.key"), journal(&home));
    for (text, said) in [(Some(ENCRYPTION_KEY), "nothing was changed"), (None, "encryption.key is missing")] {
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let ended = home.run(&["serve"], b"").await;
        assert_eq!(ended.code, Some(CONFIG), "{}", ended.err);
        assert!(ended.err.contains(said), "{}", ended.err);
        assert_eq!(journal(&home), before);
    }
    assert!(!path.exists());
    std::fs::write(&path, &third[0]).unwrap();
    assert_eq!(home.start().await.ask("reply with exactly: fine").await.status, 200);
    // Where keys are given, none is made.
    let given = Home::new().env("ENCRYPTION_KEYS", ENCRYPTION_KEY);
    let ended = given.run(&["accounts", "rotate-keys", "--new-key"], b"").await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("ENCRYPTION_KEYS"), "{}", ended.err);
}
