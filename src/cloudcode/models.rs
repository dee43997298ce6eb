//! The models an account may use and what is left of its quota (spec `http-api.md` §9.2, §9.3).

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{AccountMethod, Client};
use super::failure::{Failure, FailureClass, TransportKind};
use crate::google::model::{Family, ModelId};

/// One model as the upstream offers it to an account.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// The upstream's id.
    pub id: String,
    /// A name for people.
    pub display_name: Option<String>,
    /// Whether the upstream said anything about quota; without it the two members below are `None`.
    pub has_quota: bool,
    /// What is left of the quota, 0–1. Absent beside a reset time means 0.
    pub remaining_fraction: Option<f64>,
    /// When the quota refills, as the upstream wrote it (RFC 3339).
    pub reset_time: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    models: BTreeMap<String, Value>,
}

/// Fetches the Claude and Gemini models of one account, in order of their ids; `project` makes the quota exact.
///
/// Endpoints are tried in order. What concerns the account and not the endpoint (401, ban, verification) ends the
/// attempt at once. The failure is the last endpoint's.
pub async fn fetch(
    client: &Client,
    token: &SecretString,
    project: Option<&str>,
) -> Result<Vec<ModelInfo>, Failure> {
    let body = project.map_or_else(|| json!({}), |id| json!({ "project": id })).to_string().into_bytes();
    let mut last = protocol();
    for endpoint in 0..client.endpoints() {
        match client.account_call(endpoint, AccountMethod::FetchModels, token, body.clone()).await {
            Ok(answer) => match serde_json::from_slice::<Answer>(&answer) {
                Ok(answer) => return Ok(answer.models.into_iter().filter_map(read).collect()),
                Err(_) => last = protocol(),
            },
            Err(failure) if concerns_account(&failure) => return Err(failure),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn read((id, model): (String, Value)) -> Option<ModelInfo> {
    if ModelId::new(&id).family() == Family::Unknown {
        return None;
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let quota = model.get("quotaInfo").filter(|quota| quota.is_object());
    let reset_time = text(quota.and_then(|quota| quota.get("resetTime")));
    let remaining_fraction = quota
        .and_then(|quota| quota.get("remainingFraction"))
        .and_then(Value::as_f64)
        .or_else(|| reset_time.is_some().then_some(0.0));
    Some(ModelInfo {
        display_name: text(model.get("displayName")),
        has_quota: quota.is_some(),
        remaining_fraction,
        reset_time,
        id,
    })
}

/// Whether another endpoint would say the same.
pub(super) fn concerns_account(failure: &Failure) -> bool {
    matches!(
        failure.class,
        FailureClass::Unauthorized
            | FailureClass::CredentialRevoked
            | FailureClass::Banned
            | FailureClass::VerificationRequired { .. }
    )
}

/// An answer that is not what was asked for.
pub(super) fn protocol() -> Failure {
    Failure {
        class: FailureClass::Transport { kind: TransportKind::Protocol },
        status: None,
        reset: None,
        message: None,
    }
}
