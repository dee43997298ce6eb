//! The console's settings: the document, models, presets, trackers; each on the embedded store and on two gateways over
//! one Redis, asked in turn.

use std::time::Duration;

use antigravity_proxy::simulator::Scenario;
use reqwest::Method;
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::replicas::Replicas;
use crate::support::{Client, GEMINI, PLAIN, TestGateway, ask};

/// How long a condition may take to come true on a busy machine; that changes hold everywhere within 2 s is the matter of
/// `settings` and `settings_storm`.
const PATIENCE: Duration = Duration::from_secs(20);

/// One gateway, or several of one pool.
struct Site<'s> {
    clients: Vec<&'s Client>,
}

impl Site<'_> {
    /// The gateway whose turn it is.
    fn at(&self, turn: usize) -> &Client {
        self.clients[turn % self.clients.len()]
    }

    async fn get(&self, turn: usize, path: &str) -> Value {
        let (status, body) = self.at(turn).get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn config(&self, turn: usize) -> Value {
        self.get(turn, "/api/config").await
    }

    async fn post(&self, turn: usize, path: &str, body: &Value) -> (u16, Value) {
        self.at(turn).post(path, body).await
    }

    /// Changes settings and expects that something was right.
    async fn configure(&self, turn: usize, body: &Value) -> Value {
        let (status, answer) = self.post(turn, "/api/config", body).await;
        assert_eq!((status, &answer["status"]), (200, &json!("ok")), "{body}: {answer}");
        answer
    }

    async fn send(&self, turn: usize, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.at(turn).request(method, path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

async fn soon(what: &str, condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, holds).await.is_ok(), "{what} does not come true");
}

/// Tells `story` to a gateway with a store of its own and to two over one Redis, each with two accounts.
async fn everywhere(story: impl AsyncFn(&Site<'_>)) {
    let alone = TestGateway::of(2).await;
    story(&Site { clients: vec![&alone.client] }).await;
    alone.settled().await;
    let redis = RedisServer::start();
    let urls = vec![redis.url(); 2];
    let replicas = Replicas::start(Scenario::default().with_accounts(2), &urls).await;
    story(&Site { clients: vec![replicas.client(0), replicas.client(1)] }).await;
    replicas.shutdown().await;
}

#[tokio::test]
async fn settings_change_field_by_field() {
    everywhere(async |site| {
        let before = site.config(0).await;
        assert_eq!((&before["status"], &before["authRequired"]), (&json!("ok"), &json!(false)));
        assert_eq!(before["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(before["config"]["maxAccounts"], 10_000, "no limit is the largest one");
        assert_eq!(
            (&before["config"]["apiKey"], &before["config"]["webuiPassword"]),
            (&json!(""), &json!(""))
        );
        assert_eq!(before["generation"], 0);

        let body = json!({
            "maxRetries": 7, "retryBaseMs": 50, "maxAccounts": 10, "port": 1, "unheardOf": true,
            "accountSelection": { "strategy": "round-robin", "weights": { "health": 0, "tokens": 0 } },
        });
        let saved = site.configure(0, &body).await;
        assert_eq!(
            saved["updates"],
            json!({ "maxRetries": 7, "maxAccounts": 10,
                "accountSelection": { "strategy": "round-robin", "weights": { "health": 0, "tokens": 0 } } })
        );
        let mut fields: Vec<_> =
            saved["rejected"].as_array().unwrap().iter().map(|one| one["field"].clone()).collect();
        fields.sort_by_key(ToString::to_string);
        assert_eq!(fields, ["port", "retryBaseMs", "unheardOf"]);
        assert_eq!((&saved["generation"], &saved["message"]), (&json!(1), &json!("Configuration saved.")));

        // Whoever is asked next knows it, and it does what it says.
        let after = site.config(1).await;
        for (pointer, value) in [
            ("/config/maxRetries", json!(7)),
            ("/config/maxAccounts", json!(10)),
            ("/config/accountSelection/strategy", json!("round-robin")),
            ("/config/accountSelection/weights/tokens", json!(0)),
            ("/config/accountSelection/weights/quota", json!(3)),
            ("/sources/maxRetries", json!("store")),
            ("/sources/retryBaseMs", json!("default")),
        ] {
            assert_eq!(after.pointer(pointer), Some(&value), "{pointer}");
        }
        let explained = site.get(1, &format!("/api/strategy/explain?model={PLAIN}")).await;
        assert_eq!(explained["selection"]["strategy"], "round-robin");

        // Against the whole as it is now: the other two weights may not become 0 as well.
        let zero = json!({ "accountSelection": { "weights": { "quota": 0, "lru": 0 } } });
        let (status, refused) = site.post(1, "/api/config", &zero).await;
        assert_eq!(status, 400);
        let error = refused["error"].as_str().unwrap();
        assert!(
            error.starts_with("No valid configuration updates provided: accountSelection.weights."),
            "{error}"
        );
        assert_eq!(refused["rejected"].as_array().unwrap().len(), 2, "{refused}");
        assert_eq!(site.config(0).await["generation"], 1, "nothing was made");

        let waits = site.configure(1, &json!({ "leaseTtlMs": 9000 })).await;
        assert_eq!(waits["message"], "Configuration saved. Restart server to apply some changes.");
        assert_eq!(site.config(0).await["restartRequired"], json!(["leaseTtlMs"]));
    })
    .await;
}

#[tokio::test]
async fn developer_mode_has_two_names_and_opens_the_trackers() {
    everywhere(async |site| {
        let refused = site.at(0).get("/api/strategy/health").await;
        assert_eq!(refused, (403, json!({ "status": "error", "error": "Developer mode is not enabled" })));
        let saved = site.configure(0, &json!({ "debug": true })).await;
        assert_eq!(saved["updates"], json!({ "debug": true, "devMode": true }));
        soon("developer mode", async || site.at(1).get("/api/strategy/health").await.0 == 200).await;

        assert_eq!(site.at(0).send(&ask(PLAIN, "hello", false)).await.status, 200);
        soon("a settled request", async || {
            let health = site.get(1, "/api/strategy/health").await;
            let accounts = health["trackers"]["accounts"].as_array().unwrap().clone();
            accounts.iter().filter(|account| account["tokens"] != 50.0).count() == 1
        })
        .await;
        let health = site.get(1, "/api/strategy/health").await;
        assert_eq!((&health["strategy"], &health["status"]), (&json!("hybrid"), &json!("ok")));
        let accounts = health["trackers"]["accounts"].as_array().unwrap();
        let emails: Vec<_> = accounts.iter().map(|account| account["email"].as_str().unwrap()).collect();
        assert_eq!(emails, ["dev1@example.com", "dev2@example.com"]);
        let used = accounts.iter().find(|account| account["tokens"] != 50.0).unwrap();
        assert!((48.9..49.2).contains(&used["tokens"].as_f64().unwrap()), "{used}");
        for (name, value) in [
            ("healthScore", json!(71.0)),
            ("isUsable", json!(true)),
            ("consecutiveFailures", json!(0)),
            ("hasTokens", json!(true)),
            ("maxTokens", json!(50.0)),
        ] {
            assert_eq!(used[name], value, "{name}");
        }
        // By the settings of the store, like selection.
        let raised = json!({ "accountSelection": { "healthScore": { "minUsable": 90 }, "tokenBucket": { "maxTokens": 60 } } });
        site.configure(1, &raised).await;
        let health = site.get(0, "/api/strategy/health").await;
        let account = &health["trackers"]["accounts"][0];
        assert_eq!((&account["isUsable"], &account["maxTokens"]), (&json!(false), &json!(60.0)));
        for strategy in ["sticky", "round-robin"] {
            site.configure(0, &json!({ "accountSelection": { "strategy": strategy } })).await;
            let health = site.get(1, "/api/strategy/health").await;
            assert_eq!((&health["strategy"], &health["trackers"]), (&json!(strategy), &Value::Null));
        }
        site.configure(0, &json!({ "devMode": false })).await;
        soon("no developer mode", async || site.at(1).get("/api/strategy/health").await.0 == 403).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_said_of_models_holds_everywhere() {
    everywhere(async |site| {
        let set = async |turn: usize, model: &str, config: Value| {
            site.post(turn, "/api/models/config", &json!({ "modelId": model, "config": config })).await
        };
        let done = |entry: Value| (200, json!({ "status": "ok", "modelConfig": entry }));
        let mapped = set(0, "mine[1m]", json!({ "mapping": GEMINI, "pinned": true })).await;
        assert_eq!(mapped, done(json!({ "mapping": GEMINI, "pinned": true })));
        let listed = async |turn: usize, model: &str| {
            let models = site.get(turn, "/v1/models").await["data"].as_array().unwrap().clone();
            models.into_iter().find(|entry| entry["id"] == model)
        };
        soon("the model is listed", async || listed(1, "mine[1m]").await.is_some()).await;
        assert_eq!(listed(1, "mine[1m]").await.unwrap()["description"], format!("Mapped to {GEMINI}"));
        let answer = site.at(1).send(&ask("mine[1m]", "hello", false)).await;
        assert_eq!((answer.status, &answer.body["model"]), (200, &json!(GEMINI)), "{}", answer.body);

        // What is for display only stays with it, and each change keeps what the others say.
        assert_eq!(set(1, PLAIN, json!({ "hidden": true })).await, done(json!({ "hidden": true })));
        assert_eq!(set(0, "mine[1m]", json!({ "mapping": "" })).await, done(json!({ "pinned": true })));
        let config = site.config(1).await["config"]["modelMapping"].clone();
        assert_eq!(config, json!({ "mine[1m]": { "pinned": true }, PLAIN: { "hidden": true } }));
        assert!(listed(0, PLAIN).await.is_some(), "hidden is for display only");
        soon("it is no model any more", async || listed(1, "mine[1m]").await.is_none()).await;
        assert_eq!(site.at(1).send(&ask("mine[1m]", "hello", false)).await.status, 400);

        // Two models may stand for one another: one hop.
        assert_eq!(
            set(0, PLAIN, json!({ "mapping": GEMINI, "hidden": null })).await,
            done(json!({ "mapping": GEMINI }))
        );
        assert_eq!(set(1, GEMINI, json!({ "mapping": PLAIN })).await, done(json!({ "mapping": PLAIN })));
        soon("they are swapped", async || {
            site.at(0).send(&ask(GEMINI, "hello", false)).await.body["model"] == PLAIN
        })
        .await;
        assert_eq!(
            set(1, GEMINI, json!({ "mapping": GEMINI })).await,
            done(json!({})),
            "itself is no mapping"
        );
        assert_eq!(set(0, "mine[1m]", json!({ "pinned": null })).await, done(json!({})));
        let config = site.config(1).await["config"]["modelMapping"].clone();
        assert_eq!(config, json!({ PLAIN: { "mapping": GEMINI } }));
    })
    .await;
}

#[tokio::test]
async fn changes_of_different_models_at_the_same_moment_all_hold() {
    everywhere(async |site| {
        let names: Vec<String> = (0..12).map(|number| format!("model-{number}")).collect();
        let set = |(turn, name): (usize, &String)| {
            let body = json!({ "modelId": name, "config": { "pinned": true } });
            async move { site.post(turn, "/api/models/config", &body).await.0 }
        };
        let told = futures_util::future::join_all(names.iter().enumerate().map(set)).await;
        let config = site.config(0).await["config"]["modelMapping"].clone();
        let made = told.iter().filter(|status| **status == 200).count();
        assert!(made > 0 && told.iter().all(|status| [200, 409].contains(status)), "{told:?}");
        for (name, status) in names.iter().zip(&told) {
            assert_eq!(config[name]["pinned"] == true, *status == 200, "{name}: {status}, {config}");
        }
    })
    .await;
}

#[tokio::test]
async fn presets_are_kept_changed_renamed_and_deleted() {
    everywhere(async |site| {
        let all = async |turn: usize| site.get(turn, "/api/server/presets").await["presets"].clone();
        let names = async |turn: usize| -> Vec<String> {
            let presets = all(turn).await;
            presets.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
        };
        let built_in = ["Default (3-5 Accounts)", "Many Accounts (10+)", "Conservative", "Team"];
        assert_eq!(names(0).await, built_in);
        let presets = all(0).await;
        assert_eq!(
            (&presets[0]["builtIn"], &presets[0]["descriptionKey"]),
            (&json!(true), &json!("presetDefaultDesc"))
        );
        let save = async |turn: usize, body: Value| site.post(turn, "/api/server/presets", &body).await;
        let path = |name: &str| format!("/api/server/presets/{name}");

        // The first one on a fresh store.
        let body = json!({ "name": " Mine ", "config": { "maxRetries": 9, "retryBaseMs": 1, "accountSelection": { "strategy": "sticky" } }, "description": "d" });
        let (status, saved) = save(0, body).await;
        assert_eq!((status, &saved["message"]), (200, &json!("Server preset \"Mine\" saved")), "{saved}");
        assert_eq!(saved["rejected"][0]["field"], "retryBaseMs");
        let mine = json!({ "name": "Mine", "description": "d",
            "config": { "maxRetries": 9, "accountSelection": { "strategy": "sticky" } } });
        assert_eq!(saved["presets"][4], mine);
        assert_eq!(all(1).await[4], mine);

        // Merged into the groups, renamed, described anew.
        let change = json!({ "name": "Ours", "description": "", "config": {
            "maxRetries": 8, "accountSelection": { "weights": { "lru": 1 } } } });
        let (status, changed) = site.send(1, Method::PATCH, &path("Mine"), Some(&change)).await;
        assert_eq!((status, &changed["message"]), (200, &json!("Server preset \"Mine\" updated")), "{changed}");
        let ours = json!({ "name": "Ours", "config": {
            "maxRetries": 8, "accountSelection": { "strategy": "sticky", "weights": { "lru": 1 } } } });
        assert_eq!(all(0).await[4], ours);
        assert_eq!(save(0, json!({ "name": "Ä / ?", "config": { "maxRetries": 1 } })).await.0, 200);
        assert_eq!(names(1).await[4..], ["Ours", "Ä / ?"]);

        for (method, target, body, text) in [
            (Method::POST, "", json!({ "config": {} }), "Preset name is required"),
            (Method::POST, "", json!({ "name": "  ", "config": {} }), "Preset name is required"),
            (Method::POST, "", json!({ "name": 5, "config": {} }), "Preset name must be a text"),
            (Method::POST, "", json!({ "name": "x".repeat(51), "config": { "maxRetries": 1 } }), "Preset name must be 50 characters or fewer"),
            (Method::POST, "", json!({ "name": "a" }), "Config object is required"),
            (Method::POST, "", json!({ "name": "a", "config": [] }), "Config object is required"),
            (Method::POST, "", json!({ "name": "a", "config": { "maxRetries": 99 } }), "No valid config fields provided"),
            (Method::POST, "", json!({ "name": "a", "config": {}, "description": 1 }), "Preset description must be a text"),
            (Method::POST, "", json!({ "name": "Team", "config": { "maxRetries": 1 } }), "Cannot overwrite built-in preset \"Team\""),
            (Method::PATCH, "/Ours", json!({}), "No updates provided"),
            (Method::PATCH, "/Ours", json!({ "config": { "maxRetries": 99 } }), "No updates provided"),
            (Method::PATCH, "/Ours", json!({ "name": "" }), "Preset name is required"),
            (Method::PATCH, "/Ours", json!({ "config": 5 }), "Config object is required"),
            (Method::PATCH, "/Team", json!({ "name": "x" }), "Cannot edit built-in preset \"Team\""),
            (Method::PATCH, "/None", json!({ "name": "x" }), "Preset \"None\" not found"),
            (Method::PATCH, "/Ours", json!({ "name": "Conservative" }), "Cannot use built-in preset name \"Conservative\""),
            (Method::PATCH, "/Ours", json!({ "name": "Ä / ?" }), "A preset named \"Ä / ?\" already exists"),
        ] {
            let target = format!("/api/server/presets{target}");
            let (status, refused) = site.send(0, method, &target, Some(&body)).await;
            assert_eq!((status, &refused["status"]), (400, &json!("error")), "{body}: {refused}");
            assert_eq!(refused["error"], text, "{body}");
        }
        assert_eq!(all(1).await[4], ours, "nothing was changed");
        let (status, refused) = site.send(1, Method::DELETE, &path("Conservative"), None).await;
        assert_eq!((status, &refused["error"]), (400, &json!("Cannot delete built-in preset \"Conservative\"")));
        let (status, deleted) = site.send(1, Method::DELETE, &path("%C3%84%20%2F%20%3F"), None).await;
        assert_eq!((status, &deleted["message"]), (200, &json!("Server preset \"Ä / ?\" deleted")), "{deleted}");
        assert_eq!(site.send(0, Method::DELETE, &path("None"), None).await.0, 200);
        assert_eq!(names(0).await[4..], ["Ours"]);

        // As the console applies one.
        let team = all(0).await[3]["config"].clone();
        let applied = site.configure(0, &team).await;
        assert_eq!((&applied["updates"], &applied["rejected"]), (&team, &json!([])));
        let config = site.config(1).await["config"].clone();
        assert_eq!((&config["maxConcurrentPerAccount"], &config["accountSelection"]["strategy"]), (&json!(4), &json!("sticky")));
        // Applied over it, each of the others leaves nothing of it.
        let applied = site.configure(1, &all(1).await[0]["config"]).await;
        assert_eq!(applied["rejected"], json!([]));
        assert_eq!(site.config(0).await["config"]["maxConcurrentPerAccount"], 0);
    })
    .await;
}

#[tokio::test]
async fn every_setting_tells_what_a_form_needs() {
    let gateway = TestGateway::of(0).await;
    let (_, view) = gateway.client.get("/api/settings").await;
    assert_eq!(view["settings"]["port"], 8080, "a number, as the reference has it");
    let rows = view["rows"].as_array().unwrap();
    for row in rows {
        let key = row["key"].as_str().unwrap();
        assert_eq!(view["settings"][key], row["value"], "{key}");
        for name in ["type", "allowed", "description", "section", "applies", "source", "origin"] {
            assert!(row[name].as_str().is_some_and(|text| !text.is_empty()), "{key}: {name} in {row}");
        }
        assert!(["live", "restart", "fixed"].contains(&row["applies"].as_str().unwrap()), "{row}");
    }
    let row = |key: &str| rows.iter().find(|row| row["key"] == key).unwrap();
    assert_eq!(
        (&row("retryBaseMs")["unit"], &row("retryBaseMs")["minimum"], &row("retryBaseMs")["default"]),
        (&json!("ms"), &json!(100.0), &json!(1000))
    );
    for (key, applies) in [("maxRetries", "live"), ("leaseTtlMs", "restart"), ("dataDir", "fixed")] {
        assert_eq!(row(key)["applies"], applies, "{key}");
    }
    gateway.settled().await;
}
