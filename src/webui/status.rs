//! `GET /api/status`: what the start page shows.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use crate::server::error::ApiError;
use crate::server::gateway::Status;
use crate::server::json;
use crate::server::state::AppState;

/// Version, state and what is left to set up.
pub(crate) async fn get(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    let status = state.gateway.status().await?;
    let access = Access { api_key: !state.keys.is_open(), console_password: state.console.has_password() };
    Ok(json::value(&json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "uptimeMs": status.uptime_ms,
        "draining": state.drain.is_draining(),
        "store": { "mode": status.store, "available": status.store_available },
        "accounts": status.accounts,
        "access": access,
        "oauthClient": status.oauth_client,
        "setup": steps(&status, access),
    })))
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Access {
    api_key: bool,
    console_password: bool,
}

/// One thing that is not set up, with what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Step {
    id: &'static str,
    /// Whether the gateway cannot serve the model API without it.
    required: bool,
    title: &'static str,
    text: &'static str,
    /// A line for the shell or the environment.
    command: &'static str,
}

fn steps(status: &Status, access: Access) -> Vec<Step> {
    let mut steps = Vec::new();
    if status.accounts.total == 0 {
        steps.push(Step {
            id: "accounts",
            required: true,
            title: "Add an account",
            text: "The pool is empty, so requests are answered with 503. Import an accounts file; the running \
                   gateway takes it over at once.",
            command: "antigravity-proxy accounts import accounts.json",
        });
    } else if status.accounts.available == 0 {
        steps.push(Step {
            id: "accounts-unusable",
            required: true,
            title: "Make an account usable",
            text: "Every account is disabled or waits for its owner. The list shows what each one needs.",
            command: "antigravity-proxy accounts list",
        });
    }
    if !status.oauth_client {
        steps.push(Step {
            id: "oauth-client",
            required: true,
            title: "Set an OAuth client",
            text: "Access tokens are renewed through your own OAuth client. Set both variables and restart.",
            command: "export OAUTH_CLIENT_ID=… OAUTH_CLIENT_SECRET=…",
        });
    }
    if !access.api_key {
        steps.push(Step {
            id: "api-key",
            required: false,
            title: "Protect the model API",
            text: "Anybody who reaches this port can use the pool. Set a key and restart; clients send it as \
                   ANTHROPIC_AUTH_TOKEN.",
            command: "export API_KEY=\"$(openssl rand -hex 24)\"",
        });
    }
    if !access.console_password {
        steps.push(Step {
            id: "console-password",
            required: false,
            title: "Set a console password",
            text: "Without one, this page shows its data on this machine only. Set it and restart to use the \
                   page from elsewhere.",
            command: "export WEBUI_PASSWORD=\"$(openssl rand -hex 16)\"",
        });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::{Access, steps};
    use crate::server::gateway::{AccountCounts, Status, StoreMode};

    #[test]
    fn each_gap_has_its_step() {
        let mut status = Status {
            uptime_ms: 0,
            store: StoreMode::Embedded,
            store_available: true,
            accounts: AccountCounts::default(),
            oauth_client: false,
        };
        let ids = |status: &Status, api_key, console_password| -> Vec<_> {
            steps(status, Access { api_key, console_password }).iter().map(|step| step.id).collect()
        };
        assert_eq!(ids(&status, false, false), ["accounts", "oauth-client", "api-key", "console-password"]);
        status.oauth_client = true;
        status.accounts.total = 2;
        assert_eq!(ids(&status, true, true), ["accounts-unusable"]);
        status.accounts.available = 1;
        assert_eq!(ids(&status, true, true), Vec::<&str>::new());
    }
}
