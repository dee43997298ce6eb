//! `/sim/*`: the test's side of the simulator.
//!
//! | Route | Does |
//! |---|---|
//! | `GET /sim/scenario` | the scenario in force |
//! | `PUT /sim/scenario` | replaces it: a scenario, or `{"name": …}` of a built-in one |
//! | `POST /sim/faults` | adds one rule or a list of rules |
//! | `DELETE /sim/faults` | removes all rules |
//! | `GET /sim/requests` | what was received; `?path=`, `?account=`, `?after=<id>` choose |
//! | `GET /sim/refusals` | those of them that the strict checks refused |
//! | `GET /sim/connections` | counts: open, complete, disconnects … |
//! | `GET /sim/wait?event=&at_least=&timeout_ms=` | waits for the n-th `request`, `complete` or `disconnect` |
//! | `POST /sim/tokens/expire` | makes all access tokens void |
//! | `POST /sim/reset` | forgets what was received and reloads the scenario |
//! | `GET /sim/accounts.json` | the accounts, for import |

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::World;
use super::recorder::{Counts, Event, Recorded};
use super::scenario::{Rule, Scenario};

pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/sim/scenario", get(scenario).put(replace).post(replace))
        .route("/sim/faults", post(add_faults).delete(clear_faults))
        .route("/sim/requests", get(requests))
        .route("/sim/refusals", get(refusals))
        .route("/sim/connections", get(connections))
        .route("/sim/wait", get(wait))
        .route("/sim/tokens/expire", post(expire_tokens))
        .route("/sim/reset", post(reset))
        .route("/sim/accounts.json", get(accounts))
}

type Refused = (StatusCode, Json<Value>);

fn refuse(reason: &str) -> Refused {
    (StatusCode::BAD_REQUEST, Json(json!({"error": reason})))
}

async fn scenario(State(world): State<Arc<World>>) -> Json<Scenario> {
    Json(world.stage.load().scenario.clone())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Chosen {
    Named { name: String },
    Given(Box<Scenario>),
}

async fn replace(State(world): State<Arc<World>>, Json(chosen): Json<Value>) -> Result<StatusCode, Refused> {
    let chosen: Chosen = serde_json::from_value(chosen).map_err(|error| refuse(&error.to_string()))?;
    let scenario = match chosen {
        Chosen::Named { name } => Scenario::named(&name).map_err(|error| refuse(&error.to_string()))?,
        Chosen::Given(scenario) => *scenario,
    };
    world.load(scenario);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Rule>),
    One(Box<Rule>),
}

async fn add_faults(State(world): State<Arc<World>>, Json(rules): Json<OneOrMany>) -> StatusCode {
    let rules = match rules {
        OneOrMany::Many(rules) => rules,
        OneOrMany::One(rule) => vec![*rule],
    };
    let stage = world.stage.load();
    for rule in rules {
        stage.rules.push(rule);
    }
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(world): State<Arc<World>>) -> StatusCode {
    world.stage.load().rules.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Filter {
    path: Option<String>,
    account: Option<String>,
    after: u64,
}

async fn requests(State(world): State<Arc<World>>, Query(filter): Query<Filter>) -> Json<Vec<Recorded>> {
    let mut all = world.recorder.all();
    all.retain(|one| {
        one.id > filter.after
            && filter.path.as_ref().is_none_or(|path| one.path.contains(path))
            && filter.account.as_ref().is_none_or(|account| one.account.as_ref() == Some(account))
    });
    Json(all)
}

async fn refusals(State(world): State<Arc<World>>) -> Json<Vec<Recorded>> {
    let mut all = world.recorder.all();
    all.retain(|one| one.refusal.is_some());
    Json(all)
}

async fn connections(State(world): State<Arc<World>>) -> Json<Counts> {
    Json(world.recorder.counts())
}

#[derive(Deserialize)]
struct Wish {
    event: Event,
    #[serde(default = "one")]
    at_least: u64,
    #[serde(default = "ten_seconds")]
    timeout_ms: u64,
}

fn one() -> u64 {
    1
}

fn ten_seconds() -> u64 {
    10_000
}

async fn wait(State(world): State<Arc<World>>, Query(wish): Query<Wish>) -> (StatusCode, Json<Counts>) {
    let reached = world.recorder.reached(wish.event, wish.at_least);
    let waited = tokio::time::timeout(Duration::from_millis(wish.timeout_ms), reached).await;
    let status = if waited.is_ok() { StatusCode::OK } else { StatusCode::REQUEST_TIMEOUT };
    (status, Json(world.recorder.counts()))
}

async fn expire_tokens(State(world): State<Arc<World>>) -> StatusCode {
    world.stage.load().ledger.expire_tokens();
    StatusCode::NO_CONTENT
}

async fn reset(State(world): State<Arc<World>>) -> StatusCode {
    let scenario = world.stage.load().scenario.clone();
    world.load(scenario);
    world.recorder.reset();
    StatusCode::NO_CONTENT
}

async fn accounts(State(world): State<Arc<World>>) -> Json<Value> {
    Json(world.stage.load().ledger.accounts_json())
}
