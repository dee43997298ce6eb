//! Starts that are refused, and what a start leaves in the data directory.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use tokio::net::{TcpListener, UnixStream};

use crate::gateway::Home;
use crate::http;

#[tokio::test]
async fn wrong_settings_stop_the_start_with_everything_that_is_wrong() {
    let file = json!({
        "requestBodyLimit": "huge",
        "upstream": {"connectTimeoutMs": 5},
        "accountSelection": {"weights": {"health": -1}},
        "modelMapping": [],
    });
    let home = Home::new()
        .file(&file)
        .env("LOG_FORMAT", "xml")
        .env("METRICS_ADDR", "nowhere")
        .env("CLOUDCODE_ENDPOINTS", "ftp://example.com");
    let config = home.path().join("config.json").display().to_string();
    for command in [&["serve"][..], &["config", "check"], &["accounts", "list"]] {
        let ended = home.run(command, b"").await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(78), ""), "{command:?}: {}", ended.err);
        // Key, source, value, what is allowed; all mistakes at once.
        for (key, source, value, allowed) in [
            ("requestBodyLimit", &*config, "huge", "1073741824"),
            ("upstream.connectTimeoutMs", &config, "5", "from 100 to 120000"),
            ("accountSelection.weights.health", &config, "-1", "from 0 to 20"),
            ("modelMapping", &config, "[]", "an object"),
            ("logFormat", "LOG_FORMAT", "xml", "text or json"),
            ("metricsAddr", "METRICS_ADDR", "nowhere", "127.0.0.1:9464"),
            ("upstream.endpoints", "CLOUDCODE_ENDPOINTS", "ftp://example.com", "http/https URL"),
        ] {
            let line = ended.err.lines().find(|line| line.contains(key));
            let line = line.unwrap_or_else(|| panic!("{key} is not in {}", ended.err));
            for part in [source, value, allowed] {
                assert!(line.contains(part), "{part:?} is not in {line:?}");
            }
        }
    }
    assert!(!home.data().exists(), "a refused start leaves nothing behind");
}

#[tokio::test]
async fn a_strategy_that_is_not_there_is_wrong_usage() {
    let home = Home::new();
    for args in [&["--strategy=steady"][..], &["serve", "--strategy", "steady"]] {
        let ended = home.run(args, b"").await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{}", ended.err);
        assert!(ended.err.contains("steady") && ended.err.contains("--strategy"), "{}", ended.err);
    }
    let ended = home.run(&["config", "check", "--strategy=round-robin"], b"").await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.lines().any(|line| {
        line.starts_with("accountSelection.strategy")
            && line.contains("round-robin")
            && line.contains("--strategy")
    }));
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    for (home, setting) in [
        (Home::new().env("PORT", &address.port().to_string()), "PORT"),
        (Home::new().env("METRICS_ADDR", &address.to_string()), "METRICS_ADDR"),
    ] {
        let ended = home.run(&["serve"], b"").await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{}", ended.err);
        for part in [&address.to_string(), setting, "in use"] {
            assert!(ended.err.contains(part), "{part:?} is not in {}", ended.err);
        }
        // Nothing of the failed start is in the way of the next.
        let gateway = home.env("PORT", "0").env("METRICS_ADDR", "127.0.0.1:0").start().await;
        assert_eq!(http::get(&format!("{}/readyz", gateway.url)).await.status, 200);
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .permissions()
        .mode()
        & 0o777
}

#[tokio::test]
async fn the_data_directory_is_its_owners_alone() {
    let home = Home::new();
    let gateway = home.start().await;
    home.succeed(&["accounts", "import", "-"], br#"[{"email": "a@example.com", "refresh_token": "1//a"}]"#)
        .await;
    let data = home.data();
    assert_eq!(mode(&data), 0o700);
    let mut kinds = (false, false);
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        kinds.0 |= name.contains("key");
        kinds.1 |= name.contains("sock");
    }
    assert_eq!(kinds, (true, true), "a key file and a control socket");
    drop(gateway);
}

#[tokio::test]
async fn the_socket_of_a_killed_gateway_is_replaced_and_a_clean_end_removes_it() {
    let home = Home::new();
    let socket = || {
        let mut entries = std::fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().path());
        entries.find(|path| path.to_string_lossy().contains("sock"))
    };
    let gateway = home.start().await;
    let path = socket().expect("a control socket");
    UnixStream::connect(&path).await.unwrap();
    gateway.kill().await;
    assert!(path.exists(), "a killed process cleans nothing");
    assert!(UnixStream::connect(&path).await.is_err());
    // Commands see that nobody serves it, and open the store themselves.
    assert!(home.succeed(&["accounts", "list"], b"").await.contains("No accounts"));

    let mut gateway = home.start().await;
    assert_eq!(socket(), Some(path.clone()));
    UnixStream::connect(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    gateway.terminate().await;
    assert!(gateway.ended(crate::gateway::SOON).await.success());
    assert_eq!(socket(), None);
}
