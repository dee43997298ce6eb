//! `POST /api/models/config`: what is said of one model (spec `http-api.md` §1.5.5, §3.8).

use std::sync::Arc;

use axum::extract::{Request, State};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::anthropic::error::ErrorKind;
use crate::config::ModelEntry;
use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::gateway::configuration::{ModelChange, ModelConfigured};
use crate::server::state::AppState;
use crate::store::ops::accounts::Change;
use crate::webui::body;

/// Longest id of a model, in bytes.
const LONGEST_ID: usize = 128;

/// What is to be said of a model.
#[derive(ToSchema)]
#[schema(as = ModelConfiguration, rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what read reads")]
pub(crate) struct Asked {
    /// Which.
    #[schema(pattern = "^[A-Za-z0-9._:@/\\[\\]-]{1,128}$", example = "claude-opus-4-6-thinking")]
    model_id: String,
    /// What of it is named is changed.
    config: AskedEntry,
}

/// A change of what is said of a model; `null` takes a member away.
#[derive(ToSchema)]
#[schema(as = ModelConfigChange)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what read reads")]
struct AskedEntry {
    /// The model that answers requests for this one; an empty text takes it away, too.
    #[schema(pattern = "^[A-Za-z0-9._:@/\\[\\]-]{0,128}$", example = "gemini-3-flash")]
    mapping: Option<String>,
    /// Whether consoles hide it.
    hidden: Option<bool>,
    /// Whether consoles show it first.
    pinned: Option<bool>,
    /// Ignored.
    alias: Option<Value>,
}

/// What was changed.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelConfigured)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Changed {
    /// What is said of the model now; empty where that is nothing.
    model_config: ModelEntry,
}

/// Changes what is said of one model: which other one answers for it, and how consoles show it.
#[utoipa::path(
    post,
    path = "/api/models/config",
    operation_id = "configureModel",
    tag = "settings",
    request_body = Asked,
    responses(
        (status = 200, description = "It is changed", body = Answer<Changed>),
        (status = 400, description = "Nothing was changed: something does not fit"),
        (status = 409, description = "Others change the settings at the same moment")
    )
)]
pub(crate) async fn configure(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Changed>, ApiError> {
    let asked = body::object(&state, request, "Invalid parameters: the body must be a JSON object").await?;
    let (model, change) =
        read(&asked).map_err(|reason| ApiError::invalid(format!("Invalid parameters: {reason}")))?;
    match state.gateway.configure_model(&model, change).await? {
        ModelConfigured::Done(model_config) => Ok(Answer::new(Changed { model_config })),
        ModelConfigured::Invalid(problems) => {
            let sentences: Vec<_> =
                problems.iter().map(|one| format!("{}: {}", one.key, one.reason)).collect();
            Err(ApiError::invalid(format!("Nothing was changed. {}", sentences.join("; "))))
        }
        ModelConfigured::Conflict => {
            let message = "Others change the settings at the same moment; try again";
            Err(ApiError::new(ErrorKind::InvalidRequest, message).with_status(StatusCode::CONFLICT))
        }
    }
}

/// Model and change, or what is wrong.
fn read(asked: &Map<String, Value>) -> Result<(String, ModelChange), String> {
    let model = match asked.get("modelId") {
        Some(Value::String(model)) if is_model(model) => model.clone(),
        Some(Value::String(_)) => return Err(format!("modelId {WELL_FORMED}")),
        _ => return Err("modelId must be a text".to_owned()),
    };
    let Some(Value::Object(config)) = asked.get("config") else {
        return Err("config must be a JSON object".to_owned());
    };
    let mut change = ModelChange::default();
    for (name, value) in config {
        match name.as_str() {
            "mapping" => {
                change.mapping = match value {
                    Value::Null => Change::Clear,
                    Value::String(target) if target.is_empty() => Change::Clear,
                    Value::String(target) if is_model(target) => Change::Set(target.clone()),
                    Value::String(_) => return Err(format!("config.mapping {WELL_FORMED}")),
                    _ => return Err("config.mapping must be a text or null".to_owned()),
                }
            }
            "hidden" => change.hidden = flag(name, value)?,
            "pinned" => change.pinned = flag(name, value)?,
            // The reference's older name for something that was never used.
            "alias" => {}
            _ => return Err(format!("config.{} is unknown; allowed: mapping, hidden, pinned", shown(name))),
        }
    }
    Ok((model, change))
}

const WELL_FORMED: &str = "must have 1 to 128 of the characters A-Z a-z 0-9 . _ : @ / [ ] -";

fn is_model(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._:@/[]-".contains(&b);
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(fits)
}

fn flag(name: &str, value: &Value) -> Result<Change<bool>, String> {
    match value {
        Value::Null => Ok(Change::Clear),
        Value::Bool(flag) => Ok(Change::Set(*flag)),
        _ => Err(format!("config.{name} must be true, false or null")),
    }
}

/// A name out of a request, fit for a message.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(body: &Value) -> Result<(String, ModelChange), String> {
        read(body.as_object().unwrap())
    }

    #[test]
    fn what_is_named_is_changed() {
        let (model, change) = asked(&json!({
            "modelId": "claude-opus-4-6[1m]", "config": {"mapping": "gemini-3.1-pro-high", "hidden": null, "alias": [1]}
        }))
        .unwrap();
        let expected = ModelChange {
            mapping: Change::Set("gemini-3.1-pro-high".into()),
            hidden: Change::Clear,
            pinned: Change::Keep,
        };
        assert_eq!((model.as_str(), change), ("claude-opus-4-6[1m]", expected));
        let (_, change) =
            asked(&json!({"modelId": "a", "config": {"mapping": "", "pinned": false}})).unwrap();
        assert_eq!((change.mapping, change.pinned), (Change::Clear, Change::Set(false)));
        assert_eq!(asked(&json!({"modelId": "a", "config": {}})).unwrap().1, ModelChange::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = "a".repeat(129);
        for (body, part) in [
            (json!({"config": {}}), "modelId must be a text"),
            (json!({"modelId": 5, "config": {}}), "modelId must be a text"),
            (json!({"modelId": "", "config": {}}), "modelId must have"),
            (json!({"modelId": long, "config": {}}), "modelId must have"),
            (json!({"modelId": "a b", "config": {}}), "modelId must have"),
            (json!({"modelId": "__proto__\n", "config": {}}), "modelId must have"),
            (json!({"modelId": "a"}), "config must be"),
            (json!({"modelId": "a", "config": null}), "config must be"),
            (json!({"modelId": "a", "config": []}), "config must be"),
            (json!({"modelId": "a", "config": {"mapping": 1}}), "config.mapping must be"),
            (json!({"modelId": "a", "config": {"mapping": "<b>"}}), "config.mapping must have"),
            (json!({"modelId": "a", "config": {"hidden": "yes"}}), "config.hidden must be"),
            (json!({"modelId": "a", "config": {"pinned": 1}}), "config.pinned must be"),
            (json!({"modelId": "a", "config": {"pined": true}}), "config.pined is unknown"),
        ] {
            assert!(asked(&body).unwrap_err().contains(part), "{body}");
        }
    }
}
