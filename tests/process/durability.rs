//! What was acknowledged survives `kill -9`, and a data directory has one owner.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::task::JoinSet;

use crate::gateway::{Home, until};
use crate::http;
use crate::simulator::Simulator;

const ROUNDS: usize = 6;
/// Acknowledged changes after which a round's gateway is killed.
const CHANGES: usize = 30;

/// What clients were told; changes whose answer did not come are in doubt and count for nothing.
#[derive(Default)]
struct Told {
    there: BTreeSet<String>,
    gone: BTreeSet<String>,
    changes: usize,
}

type Shared = Arc<Mutex<Told>>;

/// Not enabled, so that requests do not stumble over credentials that nobody issued.
fn entry(email: &str) -> serde_json::Value {
    json!([{"email": email, "refresh_token": format!("1//of-{email}"), "enabled": false}])
}

/// Imports accounts and removes every fourth again until the gateway is gone.
async fn change_by_api(url: String, name: String, told: Shared) {
    for number in 0.. {
        let email = format!("{name}-{number}@example.com");
        let body = entry(&email).to_string();
        let import = http::request(
            "POST",
            &format!("{url}/api/accounts/import"),
            &[("content-type", "application/json")],
            body.as_bytes(),
        );
        let Some(answer) = http::exchange(http::split(&url).0, &import).await else { return };
        if !answer.whole {
            return;
        }
        assert_eq!(answer.json()["results"]["added"][0], email, "{}", answer.text());
        {
            let mut told = told.lock().unwrap();
            told.changes += 1;
            told.there.insert(email.clone());
        }
        if number % 4 == 0 {
            // From the moment it is asked for, the account may be gone.
            told.lock().unwrap().there.remove(&email);
            let remove = http::request("DELETE", &format!("{url}/api/accounts/{email}"), &[], b"");
            let Some(answer) = http::exchange(http::split(&url).0, &remove).await else { return };
            if !answer.whole {
                return;
            }
            assert_eq!(answer.status, 200, "{}", answer.text());
            let mut told = told.lock().unwrap();
            told.changes += 1;
            told.gone.insert(email);
        }
    }
}

/// Imports through the command line, which asks the gateway over its control socket.
async fn change_by_command(home: Arc<Home>, name: String, told: Shared, stop: Arc<AtomicUsize>) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) > 0 {
            return;
        }
        let email = format!("{name}-{number}@example.com");
        let ended = home.run(&["accounts", "import", "-"], entry(&email).to_string().as_bytes()).await;
        // With the gateway killed, the command either loses its connection or finds the directory free.
        if ended.code == Some(0) {
            let mut told = told.lock().unwrap();
            told.changes += 1;
            told.there.insert(email);
        }
    }
}

/// Keeps the hot path's writes coming; counts the requests that were answered.
async fn converse(url: String, answered: Arc<AtomicUsize>) {
    let body = http::message("reply with exactly: fine", false).to_string();
    let headers = [("content-type", "application/json")];
    let request = http::request("POST", &format!("{url}/v1/messages"), &headers, body.as_bytes());
    while let Some(answer) = http::exchange(http::split(&url).0, &request).await {
        if answer.status == 200 {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kill_9_under_load() {
    let simulator = Simulator::with_accounts(3).await;
    let home = Arc::new(Home::with(&simulator));
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let told = Shared::default();
    for round in 0..ROUNDS {
        let gateway = home.start().await;
        let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let before = told.lock().unwrap().changes;
        let mut work = JoinSet::new();
        for worker in 0..3 {
            work.spawn(change_by_api(gateway.url.clone(), format!("api-{round}-{worker}"), told.clone()));
            work.spawn(converse(gateway.url.clone(), answered.clone()));
        }
        work.spawn(change_by_command(home.clone(), format!("cli-{round}"), told.clone(), stop.clone()));
        until("changes", async || told.lock().unwrap().changes >= before + CHANGES).await;
        until("answers", async || answered.load(Ordering::Relaxed) >= 5).await;
        stop.store(1, Ordering::Relaxed);
        gateway.kill().await;
        while let Some(ended) = work.join_next().await {
            ended.unwrap();
        }

        let gateway = home.start().await;
        let exported = http::get(&format!("{}/api/accounts/export", gateway.url)).await.json();
        gateway.kill().await;
        let held: BTreeSet<(String, String)> = exported
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let text = |key: &str| one[key].as_str().unwrap().to_owned();
                (text("email"), text("refresh_token"))
            })
            .collect();
        let told = told.lock().unwrap();
        for email in &told.there {
            let whole = (email.clone(), format!("1//of-{email}"));
            assert!(held.contains(&whole), "round {round}: {email} was acknowledged and is missing");
        }
        for email in &told.gone {
            let back = held.iter().any(|(held, _)| held == email);
            assert!(!back, "round {round}: {email} was removed and is back");
        }
    }
    let told = told.lock().unwrap();
    assert!(told.there.iter().any(|email| email.starts_with("cli-")), "no command was acknowledged");
    assert!(!told.gone.is_empty(), "nothing was removed");
}

#[tokio::test]
async fn a_data_directory_has_one_owner() {
    let home = Home::new();
    let mut first = home.start().await;
    let second = home.run(&["serve"], b"").await;
    assert!(second.code.is_some_and(|code| code != 0), "{:?} {}", second.code, second.out);
    assert_eq!(second.out, "", "nothing was announced");
    let sentence = format!("the data directory {} is in use by another process", home.data().display());
    assert!(second.err.contains(&sentence), "{}", second.err);
    assert!(first.runs());
    assert_eq!(http::get(&format!("{}/livez", first.url)).await.status, 200);
    // The refused process must not have taken the socket of the first.
    assert!(home.succeed(&["accounts", "list"], b"").await.contains("No accounts"));
    first.kill().await;
    let third = home.start().await;
    assert_eq!(http::get(&format!("{}/livez", third.url)).await.status, 200);
}
