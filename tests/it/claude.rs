//! The settings of Claude Code: the file of this machine, the profile of a pool, nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use antigravity_proxy::config::ClaudeMode;
use antigravity_proxy::simulator::Scenario;
use reqwest::Method;
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::replicas::Replicas;
use crate::support::{Client, TestGateway};

/// A gateway alone on a loopback address, with the directory of a Claude Code.
struct Local {
    gateway: TestGateway,
    home: tempfile::TempDir,
}

impl Local {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".claude");
        let gateway = TestGateway::start(Scenario::default(), |config| {
            config.claude.directory = Some(directory);
        })
        .await;
        Self { gateway, home }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join(".claude/settings.json")
    }

    fn write(&self, text: &str) {
        std::fs::create_dir_all(self.path().parent().unwrap()).unwrap();
        std::fs::write(self.path(), text).unwrap();
    }

    fn file(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path()).unwrap()).unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.gateway.client.post(&format!("/api/claude/{path}"), body).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.gateway.client.get(&format!("/api/claude/{path}")).await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

async fn delete(client: &Client, path: &str) -> (u16, Value) {
    let answer = client.request(Method::DELETE, path).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn eight_variables_of_the_file_change_and_nothing_else() {
    let local = Local::new().await;
    let empty = local.get("config").await;
    assert_eq!(
        empty,
        json!({ "status": "ok", "config": { "env": {} }, "path": local.path().display().to_string(), "editable": true,
            "storage": "local" })
    );
    assert_eq!(local.get("mode").await, json!({ "status": "ok", "mode": "paid" }));

    let own = json!({ "hooks": { "Stop": [] }, "env": { "MINE": "kept", "ANTHROPIC_AUTH_TOKEN": "sk-hidden" }, "model": "opus" });
    local.write(&own.to_string());
    std::fs::set_permissions(local.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let shown = local.get("config").await;
    assert_eq!(shown["config"], json!({ "env": { "ANTHROPIC_AUTH_TOKEN": "********" } }), "no key is told");

    // As the console does it: the whole object back, with more in it than may be.
    let (status, changed) = local
        .post(
            "config",
            &json!({
                "hooks": { "Stop": [{ "command": "evil" }] }, "apiKeyHelper": "evil",
                "env": { "ANTHROPIC_AUTH_TOKEN": "********", "ANTHROPIC_MODEL": "m", "NODE_OPTIONS": "evil" },
            }),
        )
        .await;
    assert_eq!((status, &changed["message"]), (200, &json!("Claude configuration updated")), "{changed}");
    assert_eq!(changed["ignored"], json!(["hooks", "apiKeyHelper", "env.NODE_OPTIONS"]));
    let expected = json!({ "hooks": { "Stop": [] }, "model": "opus",
        "env": { "MINE": "kept", "ANTHROPIC_AUTH_TOKEN": "sk-hidden", "ANTHROPIC_MODEL": "m" } });
    assert_eq!(local.file(), expected);
    assert_eq!(std::fs::metadata(local.path()).unwrap().permissions().mode() & 0o777, 0o640);
    let backup = local.path().with_file_name("settings.json.bak");
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(backup).unwrap()).unwrap(), own);

    // Through this gateway, whatever its port, and back; nobody else's variable is touched.
    let (status, switched) = local.post("mode", &json!({ "mode": "proxy" })).await;
    assert_eq!((status, &switched["mode"]), (200, &json!("proxy")), "{switched}");
    assert_eq!(switched["message"], "Switched to Proxy mode. Restart Claude CLI to apply.");
    let env = local.file()["env"].clone();
    let url = env["ANTHROPIC_BASE_URL"].as_str().unwrap();
    assert!(url.starts_with("http://localhost:") && !url.ends_with(":8080"), "{url}");
    assert_eq!((&env["ANTHROPIC_AUTH_TOKEN"], &env["MINE"]), (&json!("test"), &json!("kept")));
    assert_eq!(env["ANTHROPIC_DEFAULT_HAIKU_MODEL"], "claude-sonnet-4-6");
    assert_eq!(local.get("mode").await["mode"], "proxy");
    let (_, paid) = local.post("mode", &json!({ "mode": "paid" })).await;
    assert_eq!((&paid["mode"], &local.file()["env"]), (&json!("paid"), &json!({ "MINE": "kept" })));
    assert_eq!(paid["message"], "Switched to Paid (Anthropic API) mode. Restart Claude CLI to apply.");

    local
        .post("config", &json!({ "env": { "ANTHROPIC_MODEL": "m", "CLAUDE_CODE_SUBAGENT_MODEL": "n" } }))
        .await;
    local.post("config", &json!({ "env": { "ANTHROPIC_MODEL": "" } })).await;
    assert_eq!(
        local.file()["env"],
        json!({ "MINE": "kept", "CLAUDE_CODE_SUBAGENT_MODEL": "n" }),
        "cleared is gone"
    );
    let (status, restored) = local.post("config/restore", &json!({})).await;
    assert_eq!(
        (status, &restored["message"]),
        (200, &json!("Claude CLI configuration restored to defaults"))
    );
    assert_eq!(local.file()["env"], json!({ "MINE": "kept" }));
    local.gateway.settled().await;
}

#[tokio::test]
async fn what_is_wrong_changes_no_file() {
    let local = Local::new().await;
    for (path, body, text) in [
        ("config", json!([]), "Invalid config updates"),
        ("config", json!("text"), "Invalid config updates"),
        ("config", json!({ "env": { "ANTHROPIC_MODEL": 5 } }), "env.ANTHROPIC_MODEL must be a text"),
        ("config", json!({ "env": [] }), "env must be a JSON object"),
        ("mode", json!({}), "mode must be \"proxy\" or \"paid\""),
        ("mode", json!({ "mode": "both" }), "mode must be \"proxy\" or \"paid\""),
        ("presets", json!({}), "Preset name is required"),
        ("presets", json!({ "name": " ", "config": {} }), "Preset name is required"),
        ("presets", json!({ "name": "a" }), "Config object is required"),
        ("presets", json!({ "name": "a", "config": [] }), "Config object is required"),
        ("presets", json!({ "name": "a", "config": { "X": 1 } }), "config.X must be a text"),
    ] {
        let (status, refused) = local.post(path, &body).await;
        assert_eq!((status, &refused["status"]), (400, &json!("error")), "{body}: {refused}");
        assert!(refused["error"].as_str().unwrap().starts_with(text), "{body}: {refused}");
    }
    assert!(!local.path().exists());
    for broken in ["{\"env\": {},}", "[]"] {
        local.write(broken);
        for (path, body) in [
            ("config", json!({ "env": { "ANTHROPIC_MODEL": "m" } })),
            ("config/restore", json!({})),
            ("mode", json!({ "mode": "proxy" })),
        ] {
            let (status, refused) = local.post(path, &body).await;
            assert_eq!((status, &refused["status"]), (409, &json!("error")), "{path}: {refused}");
        }
        assert_eq!(std::fs::read_to_string(local.path()).unwrap(), broken, "untouched");
        let shown = local.get("config").await;
        assert_eq!(shown["config"], json!({ "env": {} }));
        assert!(shown["problem"].as_str().unwrap().contains("settings.json"), "{shown}");
    }
    local.gateway.settled().await;
}

#[tokio::test]
async fn a_pool_has_a_profile_that_people_copy() {
    let redis = RedisServer::start();
    let replicas = Replicas::cold(Scenario::default(), &vec![redis.url(); 2], |config| {
        config.server.public_base_url = Some("https://gateway.example".into());
        config.server.api_keys = vec!["key-1".to_owned().into()];
    })
    .await;
    let get = async |gateway: usize, path: &str| replicas.client(gateway).get(path).await.1;
    let first = get(0, "/api/claude/config").await;
    assert_eq!(
        (&first["editable"], &first["path"], &first["storage"]),
        (&json!(false), &Value::Null, &json!("profile"))
    );
    let env = &first["config"]["env"];
    assert_eq!(
        (&env["ANTHROPIC_BASE_URL"], &env["ANTHROPIC_AUTH_TOKEN"]),
        (&json!("https://gateway.example"), &json!("<your API key>"))
    );
    assert!(
        first["instructions"].as_str().unwrap().contains("export ANTHROPIC_MODEL='claude-opus-4-6-thinking'")
    );
    assert_eq!(get(1, "/api/claude/mode").await["mode"], "proxy", "its own address");

    let body =
        json!({ "env": { "ANTHROPIC_MODEL": "mine", "ANTHROPIC_AUTH_TOKEN": "sk-secret-1", "OTHER": "x" } });
    let (status, changed) = replicas.client(0).post("/api/claude/config", &body).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(
        changed["ignored"],
        json!(["env.OTHER", "env.ANTHROPIC_AUTH_TOKEN"]),
        "a key is nothing for the store"
    );
    let second = get(1, "/api/claude/config").await["config"]["env"].clone();
    assert_eq!(
        (&second["ANTHROPIC_MODEL"], &second["ANTHROPIC_AUTH_TOKEN"]),
        (&json!("mine"), &json!("<your API key>"))
    );
    assert_eq!(second["CLAUDE_CODE_SUBAGENT_MODEL"], "claude-sonnet-4-6", "the others stay");
    let (_, paid) = replicas.client(1).post("/api/claude/mode", &json!({ "mode": "paid" })).await;
    assert_eq!((&paid["config"], &paid["mode"]), (&json!({ "env": {} }), &json!("paid")));
    assert_eq!(get(0, "/api/claude/mode").await["mode"], "paid");
    assert_eq!(replicas.client(0).post("/api/claude/mode", &json!({ "mode": "proxy" })).await.0, 200);
    assert_eq!(
        get(1, "/api/claude/config").await["config"]["env"]["ANTHROPIC_MODEL"],
        "claude-opus-4-6-thinking"
    );

    // Presets, at either gateway; no key is kept in them either.
    let save = json!({ "name": "Mine", "config": { "ANTHROPIC_MODEL": "m", "ANTHROPIC_AUTH_TOKEN": "sk-secret-2" } });
    let (status, saved) = replicas.client(1).post("/api/claude/presets", &save).await;
    assert_eq!((status, &saved["message"]), (200, &json!("Preset \"Mine\" saved")), "{saved}");
    let presets = get(0, "/api/claude/presets").await["presets"].clone();
    assert_eq!(
        presets[2],
        json!({ "name": "Mine", "config": { "ANTHROPIC_MODEL": "m", "ANTHROPIC_AUTH_TOKEN": "<your API key>" } })
    );
    assert_eq!(presets[1]["name"], "Gemini 1M");
    // Built-in ones are like any other.
    let over = json!({ "name": "Gemini 1M", "config": { "ANTHROPIC_MODEL": "g" } });
    assert_eq!(
        replicas.client(0).post("/api/claude/presets", &over).await.1["presets"][1]["config"],
        over["config"]
    );
    let names = |answer: &Value| -> Vec<String> {
        let presets = answer["presets"].as_array().unwrap();
        presets.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let (status, left) = delete(replicas.client(1), "/api/claude/presets/Claude%20Thinking").await;
    assert_eq!((status, &left["message"]), (200, &json!("Preset \"Claude Thinking\" deleted")));
    assert_eq!(names(&left), ["Gemini 1M", "Mine"]);
    assert_eq!(delete(replicas.client(0), "/api/claude/presets/None").await.0, 200);
    assert_eq!(names(&get(0, "/api/claude/presets").await), ["Gemini 1M", "Mine"]);

    let mut connection = redis.connect();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    for key in keys.iter().filter(|key| ["presets:claude", "conf"].iter().any(|end| key.ends_with(end))) {
        let rows: Vec<String> = redis::cmd("HVALS").arg(key).query(&mut connection).unwrap();
        assert!(!rows.concat().contains("sk-secret"), "{key}: {rows:?}");
    }
    replicas.shutdown().await;
}

#[tokio::test]
async fn nothing_is_managed_when_it_is_off() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().to_owned();
    let gateway = TestGateway::start(Scenario::default(), |config| {
        config.claude.mode = Some(ClaudeMode::Off);
        config.claude.directory = Some(directory);
    })
    .await;
    let (_, shown) = gateway.client.get("/api/claude/config").await;
    let expected =
        json!({ "status": "ok", "config": { "env": {} }, "path": null, "editable": false, "storage": "off" });
    assert_eq!(shown, expected);
    assert_eq!(gateway.client.get("/api/claude/mode").await.1["mode"], "paid");
    for (path, body) in [
        ("config", json!({ "env": { "ANTHROPIC_MODEL": "m" } })),
        ("config/restore", json!({})),
        ("mode", json!({ "mode": "proxy" })),
        ("presets", json!({ "name": "a", "config": {} })),
    ] {
        let (status, refused) = gateway.client.post(&format!("/api/claude/{path}"), &body).await;
        assert_eq!((status, &refused["status"]), (403, &json!("error")), "{path}: {refused}");
    }
    assert_eq!(delete(&gateway.client, "/api/claude/presets/x").await.0, 403);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    gateway.settled().await;
}
