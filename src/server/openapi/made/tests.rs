//! The document and the routes say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

use super::{TAGS, text};
use crate::config::ServerConfig;
use crate::server::app;
use crate::server::auth::Peer;
use crate::server::state::AppState;
use crate::server::tests::{Fake, state};

fn document() -> Value {
    serde_json::from_str(text()).unwrap()
}

/// Path, method and description of each operation.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

async fn head(state: &Arc<AppState>, method: &str, path: &str, peer: Peer) -> http::response::Parts {
    let target = path.replace(['{', '}'], "");
    let request = Request::builder().method(method).uri(target).extension(peer).body(Body::empty()).unwrap();
    app(state).oneshot(request).await.unwrap().into_parts().0
}

/// The paths of the router itself, as it prints them.
fn routed(state: &Arc<AppState>) -> BTreeSet<String> {
    let printed = format!("{:?}", app(state));
    let (main, _) = printed.split_once("fallback_router").unwrap();
    let (_, paths) = main.split_once("paths: {").unwrap();
    let (paths, _) = paths.split_once("\"}").unwrap();
    paths.split("RouteId(").skip(1).map(|one| one.split('"').nth(1).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_route_is_described_and_every_description_routed() {
    let state = state(&ServerConfig::default(), Fake::default());
    let document = document();
    let mut described: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in operations(&document) {
        let methods = described.entry(path).or_default();
        methods.insert(method.to_uppercase());
        if method == "get" {
            methods.insert("HEAD".to_owned());
        }
    }
    let paths: BTreeSet<_> = described.keys().map(|path| (*path).to_owned()).collect();
    assert!(paths.len() > 30, "{paths:?}");
    assert_eq!(routed(&state), paths);
    for (path, methods) in described {
        let refused = head(&state, "TRACE", path, Peer::Control).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = refused.headers["allow"].to_str().unwrap();
        assert_eq!(allowed.split(',').map(str::to_owned).collect::<BTreeSet<_>>(), methods, "{path}");
    }
}

#[tokio::test]
async fn credentials_are_asked_for_as_described() {
    let locked = ServerConfig {
        api_keys: vec!["key".into()],
        webui_password: Some("pass".into()),
        ..ServerConfig::default()
    };
    let (locked, open) = (state(&locked, Fake::default()), state(&ServerConfig::default(), Fake::default()));
    let stranger = Peer::Tcp("192.0.2.1:1".parse().unwrap());
    let document = document();
    let schemes: BTreeSet<_> =
        document["components"]["securitySchemes"].as_object().unwrap().keys().collect();
    for (path, method, operation) in operations(&document) {
        let wanted = operation["security"].as_array().unwrap();
        let named: BTreeSet<_> = wanted.iter().flat_map(|one| one.as_object().unwrap().keys()).collect();
        assert!(named.is_subset(&schemes), "{method} {path}: {named:?}");
        let access = operation["x-access"].as_str().unwrap();
        let expected = match access {
            "control" => Some(StatusCode::FORBIDDEN),
            "public" | "brief" | "login" => None,
            _ => Some(StatusCode::UNAUTHORIZED),
        };
        let method = method.to_uppercase();
        let status = head(&locked, &method, path, stranger).await.status;
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status).then_some(status);
        assert_eq!(refused, expected, "{method} {path}");
        if let Some(status) = expected {
            let told = &operation["responses"][status.as_str()];
            assert!(told.is_object(), "{method} {path}: {status} is not described");
        }
        // Where strangers are let in without a password, nothing has to be shown.
        let optional = wanted.iter().any(|one| one.as_object().unwrap().is_empty());
        let status = head(&open, &method, path, stranger).await.status;
        assert_eq!(optional, ["redactable", "brief"].contains(&access), "{method} {path}");
        assert!(!optional || status == StatusCode::OK, "{method} {path}: {status}");
    }
}

#[test]
fn operations_are_named_grouped_and_told() {
    let document = document();
    let mut names = BTreeSet::new();
    let groups: BTreeSet<_> = TAGS.iter().map(|(tag, _)| *tag).collect();
    for (path, method, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        // Handlers are called `list` and `change`; a client made from the document needs more.
        assert!(name.contains(char::is_uppercase), "{method} {path}: give it an operation_id");
        assert!(names.insert(name), "{method} {path}: {name} is taken");
        let tags: Vec<_> =
            operation["tags"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
        assert!(matches!(tags[..], [tag] if groups.contains(tag)), "{method} {path}: {tags:?}");
        assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{method} {path}: no summary");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let told = response["$ref"].is_string() || response["content"].is_object() || status == "304";
            assert!(told, "{method} {path}: {status} has no body");
        }
    }
}

#[test]
fn references_lead_somewhere() {
    fn walk(value: &Value, document: &Value, seen: &mut usize) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    *seen += 1;
                    let target = document.pointer(reference.trim_start_matches('#'));
                    assert!(target.is_some(), "{reference} leads nowhere");
                }
                members.values().for_each(|member| walk(member, document, seen));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, document, seen)),
            _ => {}
        }
    }
    let (document, mut seen) = (document(), 0);
    walk(&document, &document, &mut seen);
    assert!(seen > 100, "{seen}");
}

/// Descriptions are comments of the code; what only its readers can look up stands in a `//` comment.
#[test]
fn descriptions_need_no_other_text() {
    for reference in ["spec `", "Spec `", "[`", "crate::", "super::"] {
        assert!(!text().contains(reference), "{reference}: {:?}", text().split_once(reference));
    }
}

#[test]
fn answers_refer_to_what_they_carry() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let answers: Vec<_> = schemas.iter().filter(|(name, _)| name.starts_with("Answer_")).collect();
    assert!(answers.len() > 10, "{answers:?}");
    for (name, schema) in answers {
        let carried = name.replace("Answer_", "#/components/schemas/");
        assert_eq!(schema["allOf"][0]["$ref"], carried, "{name}");
    }
}

/// Two types of one name would share one description, and nothing else tells.
#[test]
fn no_two_types_have_one_name() {
    let mut files = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut known: BTreeMap<String, PathBuf> = BTreeMap::new();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for name in schema_names(&path) {
                if let Some(other) = known.insert(name.clone(), path.clone()) {
                    panic!(
                        "{name} is in {} and {}: give one #[schema(as = …)]",
                        path.display(),
                        other.display()
                    );
                }
            }
        }
    }
    assert!(known.contains_key("AccountView") && known.contains_key("SettingsConflict"), "{known:?}");
}

/// The names under which a file's types are described.
fn schema_names(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for item in text.split("#[derive(").skip(1).filter(|item| {
        item.split_once(")]")
            .is_some_and(|(derived, _)| derived.split([',', ' ']).any(|one| one == "ToSchema"))
    }) {
        let declared = ["struct ", "enum "].iter().filter_map(|kind| Some((item.find(kind)?, *kind))).min();
        let (at, kind) = declared.unwrap();
        let renamed = item[..at].split_once("#[schema(as = ").map(|(_, name)| word(name));
        names.push(renamed.unwrap_or_else(|| word(&item[at + kind.len()..])));
    }
    names
}
