//! The project an account's calls are charged to, its tier, and onboarding of accounts that have no project yet
//! (spec `dispatch.md` §6.2–6.5, `http-api.md` §6.7, §9.4).

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::client::{AccountMethod, Client};
use super::failure::Failure;
use super::identity::ClientMetadata;
use super::models::{concerns_account, protocol};

const POLL_PAUSE: Duration = Duration::from_secs(5);
const POLLS_PER_ENDPOINT: u32 = 10;
const FALLBACK_TIER: &str = "free-tier";

/// What is known of an account after discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The project to send in calls; `None` when neither the upstream nor the account has one.
    pub id: Option<String>,
    /// Whether the upstream named it (then it is worth storing), as opposed to the account's own project or none.
    pub managed: bool,
    /// The account's subscription.
    pub tier: Tier,
}

/// A subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// Without payment.
    Free,
    /// The smaller paid one.
    Pro,
    /// The larger paid one.
    Ultra,
    /// The upstream's id is not one of the known ones, or there is none.
    #[default]
    Unknown,
}

impl Tier {
    /// Reads an upstream tier id, whatever its case.
    #[must_use]
    pub fn from_id(id: &str) -> Self {
        let id = id.to_ascii_lowercase();
        if id.contains("ultra") {
            Self::Ultra
        } else if id == "standard-tier" || id.contains("pro") || id.contains("premium") {
            Self::Pro
        } else if id.contains("free") {
            Self::Free
        } else {
            Self::Unknown
        }
    }

    /// `free`, `pro`, `ultra` or `unknown`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Ultra => "ultra",
            Self::Unknown => "unknown",
        }
    }
}

/// Finds the account's project and tier, and onboards the account when it has no project.
///
/// `own_project` is the project the operator gave the account. `loadCodeAssist` is asked from the last endpoint
/// backwards, `onboardUser` from the first forwards. Every call has a time-out, but onboarding polls for up to
/// 50 s per endpoint: run this off a request's path. A failed `loadCodeAssist` is an error, and so is what concerns the
/// account itself, such as a ban; any other failed onboarding leaves `own_project`, not managed.
pub async fn discover(
    client: &Client,
    token: &SecretString,
    own_project: Option<&str>,
) -> Result<Project, Failure> {
    let metadata = ClientMetadata::new(own_project);
    let loaded = load(client, token, &metadata).await?;
    let found = known(&loaded, own_project);
    if found.managed {
        return Ok(found);
    }
    let tier = found.tier;
    let onboarded = onboard(client, token, &metadata, onboarding_tier(&loaded)).await?;
    let managed = onboarded.is_some();
    Ok(Project { id: onboarded.or_else(|| own_project.map(str::to_owned)), managed, tier })
}

/// What the upstream knows of the account's project and tier, without onboarding it: `loadCodeAssist` alone.
pub async fn look(
    client: &Client,
    token: &SecretString,
    own_project: Option<&str>,
) -> Result<Project, Failure> {
    let loaded = load(client, token, &ClientMetadata::new(own_project)).await?;
    Ok(known(&loaded, own_project))
}

fn known(loaded: &Value, own_project: Option<&str>) -> Project {
    let named = project_id(loaded.get("cloudaicompanionProject"));
    let managed = named.is_some();
    Project { id: named.or_else(|| own_project.map(str::to_owned)), managed, tier: tier(loaded) }
}

async fn load(client: &Client, token: &SecretString, metadata: &ClientMetadata) -> Result<Value, Failure> {
    let body = json!({ "metadata": metadata, "mode": 1 }).to_string().into_bytes();
    let mut last = protocol();
    for endpoint in (0..client.endpoints()).rev() {
        match client.account_call(endpoint, AccountMethod::LoadCodeAssist, token, body.clone()).await {
            Ok(answer) => match serde_json::from_slice::<Value>(&answer) {
                Ok(answer) if answer.is_object() => return Ok(answer),
                _ => last = protocol(),
            },
            Err(failure) if concerns_account(&failure) => return Err(failure),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// The body must not name a project: the upstream refuses that for tiers whose project it makes itself.
async fn onboard(
    client: &Client,
    token: &SecretString,
    metadata: &ClientMetadata,
    tier_id: &str,
) -> Result<Option<String>, Failure> {
    let body = json!({ "tierId": tier_id, "metadata": metadata }).to_string().into_bytes();
    for endpoint in 0..client.endpoints() {
        for poll in 1..=POLLS_PER_ENDPOINT {
            let call = client.account_call(endpoint, AccountMethod::OnboardUser, token, body.clone()).await;
            let answer = match call {
                Ok(answer) => answer,
                Err(failure) if concerns_account(&failure) => return Err(failure),
                Err(_) => break,
            };
            let Ok(answer) = serde_json::from_slice::<Value>(&answer) else { break };
            if answer.get("done").and_then(Value::as_bool) == Some(true) {
                let id = project_id(answer.pointer("/response/cloudaicompanionProject"));
                if id.is_some() || metadata.duet_project.is_some() {
                    return Ok(id);
                }
            }
            if poll < POLLS_PER_ENDPOINT {
                tokio::time::sleep(POLL_PAUSE).await;
            }
        }
    }
    Ok(None)
}

fn project_id(value: Option<&Value>) -> Option<String> {
    let value = value?;
    let id = value.as_str().or_else(|| value.get("id").and_then(Value::as_str))?;
    (!id.is_empty()).then(|| id.to_owned())
}

fn default_tier(loaded: &Value) -> Option<&str> {
    let allowed = loaded.get("allowedTiers").and_then(Value::as_array)?;
    let is_default = |tier: &&Value| tier.get("isDefault").and_then(Value::as_bool) == Some(true);
    allowed.iter().find(is_default).or_else(|| allowed.first())?.get("id")?.as_str()
}

/// What the account pays for must not be used here: onboarding accepts allowed tiers only.
fn onboarding_tier(loaded: &Value) -> &str {
    default_tier(loaded).unwrap_or(FALLBACK_TIER)
}

/// The first of paid, current and default tier whose id is known.
fn tier(loaded: &Value) -> Tier {
    let id = |pointer: &str| loaded.pointer(pointer).and_then(Value::as_str);
    [id("/paidTier/id"), id("/currentTier/id"), default_tier(loaded)]
        .into_iter()
        .flatten()
        .map(Tier::from_id)
        .find(|tier| *tier != Tier::Unknown)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Tier, onboarding_tier, tier};

    #[test]
    fn tiers() {
        for (id, expected) in [
            ("g1-ultra-tier", Tier::Ultra),
            ("standard-tier", Tier::Pro),
            ("g1-PRO-tier", Tier::Pro),
            ("premium", Tier::Pro),
            ("free-tier", Tier::Free),
            ("standard", Tier::Unknown),
            ("", Tier::Unknown),
        ] {
            assert_eq!(Tier::from_id(id), expected, "{id}");
        }
        let loaded = json!({"paidTier":{"id":"odd"},"currentTier":{"id":"free-tier"},
            "allowedTiers":[{"id":"first"},{"id":"legacy-tier","isDefault":true}]});
        assert_eq!(tier(&loaded), Tier::Free);
        assert_eq!(onboarding_tier(&loaded), "legacy-tier");
        assert_eq!(onboarding_tier(&json!({"allowedTiers":[{"id":"first"}]})), "first");
        assert_eq!(onboarding_tier(&json!({})), "free-tier");
        assert_eq!(tier(&json!({})), Tier::Unknown);
    }
}
