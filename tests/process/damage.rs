//! Accounts of which Redis holds what cannot be read.

use serde_json::{Value, json};

use crate::gateway::{SOON, until};
use crate::http;
use crate::ledger::Ledger;
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_account_costs_nobody_else_and_is_named_until_it_is_mended() {
    let site = Site::start(4).await;
    let mut ledger = Ledger::new(&site.redis);
    let home = site.home();
    let mut gateway = home.start().await;
    assert_eq!(gateway.ask("reply with exactly: fine").await.status, 200);
    // Of one account what selection reads, of another what it does not read, of the third the token.
    let id_of = |ledger: &mut Ledger, user: u32| -> String {
        let emails = ledger.key("email");
        redis::cmd("HGET")
            .arg(emails)
            .arg(format!("user{user}@example.com"))
            .query(ledger.connection())
            .unwrap()
    };
    for (user, key) in [(1, "hot"), (2, "acct"), (3, "tok")] {
        let (id, key) = (id_of(&mut ledger, user), ledger.key(key));
        redis::cmd("HSET").arg(key).arg(id).arg("?").exec(ledger.connection()).unwrap();
    }
    for _ in 0..12 {
        let answer = gateway.ask("reply with exactly: fine").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let (callers, _) = site.callers(0).await;
    assert!(
        callers[1..].iter().all(|one| one == "user3@example.com" || one == "user4@example.com"),
        "{callers:?}"
    );

    let health = http::get(&format!("{}/health", gateway.url)).await.json();
    assert_eq!(
        health["counts"],
        json!({"total": 4, "available": 2, "rateLimited": 0, "invalid": 2}),
        "{health}"
    );
    let damaged = |list: &Value| -> Vec<String> {
        let list = list["accounts"].as_array().unwrap().iter();
        let named = list.filter(|one| one.to_string().contains("is damaged: import the account again"));
        named.map(|one| one["email"].as_str().unwrap().to_owned()).collect()
    };
    let both = ["user1@example.com", "user2@example.com"];
    assert_eq!(damaged(&health), both, "{health}");
    let listed = http::get(&format!("{}/api/accounts", gateway.url)).await.json();
    assert_eq!(damaged(&listed), both, "{listed}");
    let out = home.succeed(&["accounts", "list"], b"").await;
    for email in both {
        assert!(out.contains(email) && out.contains("is damaged"), "{out}");
    }
    let tried = home.run(&["accounts", "disable", "user2@example.com"], b"").await;
    assert!(tried.code != Some(0) && tried.err.contains("is damaged"), "{}{}", tried.out, tried.err);
    let exported = home.run(&["accounts", "export"], b"").await;
    assert_eq!(exported.code, Some(4), "{}", exported.err);
    assert!(exported.err.contains("user2@example.com is left out: its record"), "{}", exported.err);
    let document: Value = serde_json::from_str(&exported.out).unwrap();
    assert_eq!(document["accounts"].as_array().unwrap().len(), 2);
    // With the next look, which another account brings about.
    home.succeed(&["accounts", "disable", "user4@example.com"], b"").await;
    let id = id_of(&mut ledger, 2);
    until("the log names the accounts", async || {
        gateway.log.text().lines().any(|line| line.contains(&id) && line.contains("is damaged"))
    })
    .await;

    // One is imported anew, the other removed.
    let again = json!([site.simulator.accounts["accounts"][1]]).to_string();
    home.succeed(&["accounts", "import", "-"], again.as_bytes()).await;
    home.succeed(&["accounts", "remove", "user1@example.com", "--yes"], b"").await;
    let health = http::get(&format!("{}/health", gateway.url)).await.json();
    assert_eq!(
        health["counts"],
        json!({"total": 3, "available": 2, "rateLimited": 0, "invalid": 0}),
        "{health}"
    );
    for _ in 0..4 {
        assert_eq!(gateway.ask("reply with exactly: fine").await.status, 200);
    }
    let (callers, _) = site.callers(0).await;
    assert!(callers.contains(&"user2@example.com".to_owned()), "{callers:?}");
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success(), "{}", gateway.log.text());
}
