//! Two versions of the gateway on one Redis, as during a rolling update: the other one has a script changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::store::registry::ADMIT;
use serde_json::json;
use tokio::process::Command;

use crate::gateway::until;
use crate::http;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::site::{BRISK, Site};

/// The run of `make soak`.
const LONG: Duration = Duration::from_mins(5);
/// Pause between two times at which Redis forgets all scripts.
const FORGET: Duration = Duration::from_secs(20);

/// Builds it, which takes a minute or two.
async fn other_version() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/other-version.sh");
    let output = Command::new(script).kill_on_drop(true).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    PathBuf::from(out.trim())
}

/// What `scripts/other-version.sh` makes of `admit.lua`.
fn other_admit() -> String {
    let mark = "local function answer(d)\n";
    let other = ADMIT
        .source
        .replace(mark, &format!("-- As the next version has it.\nlocal next_version = true\n{mark}"));
    assert_ne!(other, ADMIT.source);
    other
}

fn digest(source: &str) -> String {
    redis::Script::new(source).get_hash().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "five minutes, and a build of the other version: make soak"]
async fn two_versions_share_a_redis_for_five_minutes() {
    println!("no seed: the load is the same every time");
    let other = other_version().await;
    let site = Site::start(5).await;
    let (one, two) = (site.home(), site.home().program(&other));
    let gateways = [one.start().await, two.start().await];
    let urls = gateways.each_ref().map(|gateway| gateway.url.clone());
    let turn = Arc::new(AtomicUsize::new(0));
    let load = Load::start(8, BRISK, move || urls[turn.fetch_add(1, Ordering::Relaxed) % 2].clone());
    let mut ledger = Ledger::new(&site.redis);
    let digests = [digest(ADMIT.source), digest(&other_admit())];
    let begun = Clock::system().instant();
    while begun.elapsed() < LONG {
        tokio::time::sleep(FORGET).await;
        ledger.snapshot().assert_counts();
        // Whoever needs a script loads it again; so both versions use theirs.
        let () = redis::cmd("SCRIPT").arg("FLUSH").query(ledger.connection()).unwrap();
        until("both versions admit", async || {
            let known: Vec<bool> =
                redis::cmd("SCRIPT").arg("EXISTS").arg(&digests).query(ledger.connection()).unwrap();
            known == [true, true]
        })
        .await;
    }
    let seen = load.finish().await;
    seen.assert_whole();
    for gateway in &gateways {
        let served = seen.answers.iter().filter(|answer| answer.url == gateway.url).count();
        assert!(served > 100, "{} served {served} requests", gateway.url);
        let log = gateway.log.text();
        let complaints: BTreeSet<_> =
            log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
    until("everything is settled", async || ledger.snapshot().ends.is_empty()).await;
    ledger.snapshot().assert_free();
    let refused = http::get(&format!("{}/sim/refusals", site.simulator.url)).await.json();
    assert_eq!(refused, json!([]), "the upstream refuses nothing");
    println!("{} requests, no failure", seen.answers.len());
}
