//! `GET /api/status`: what the console shows first.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::gateway::{AccountCounts, Status, StoreMode};
use crate::server::state::AppState;

/// A gateway and what is left to set up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusView {
    /// The version of the program.
    version: &'static str,
    /// How long this process has been serving, in milliseconds.
    uptime_ms: u64,
    /// Whether it is shutting down.
    draining: bool,
    /// Where shared state lives.
    store: StoreState,
    /// The pool.
    accounts: AccountCounts,
    /// Which credentials are asked for.
    access: Access,
    /// Whether an OAuth client is configured.
    oauth_client: bool,
    /// Whether Google refused it when it was used last: tokens cannot be renewed by this gateway.
    oauth_client_refused: bool,
    /// What is not set up.
    setup: Vec<Step>,
}

/// Where shared state lives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoreState {
    /// The kind.
    mode: StoreMode,
    /// Whether it answers now.
    available: bool,
}

/// Version, state and what is left to set up.
#[utoipa::path(
    get,
    path = "/api/status",
    operation_id = "getStatus",
    tag = "status",
    responses((status = 200, description = "The state", body = Answer<StatusView>))
)]
pub(crate) async fn get(State(state): State<Arc<AppState>>) -> Result<Answer<StatusView>, ApiError> {
    let status = state.gateway.status().await?;
    let access = Access { api_key: !state.keys.is_open(), console_password: state.console.has_password() };
    Ok(Answer::new(StatusView {
        version: env!("CARGO_PKG_VERSION"),
        uptime_ms: status.uptime_ms,
        draining: state.drain.is_draining(),
        store: StoreState { mode: status.store, available: status.store_available },
        accounts: status.accounts,
        access,
        oauth_client: status.oauth_client,
        oauth_client_refused: status.oauth_client_refused,
        setup: steps(&status, access),
    }))
}

/// Which credentials are asked for.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = AccessState)]
#[serde(rename_all = "camelCase")]
struct Access {
    /// A client key on the model API.
    api_key: bool,
    /// A password on the console.
    console_password: bool,
}

/// One thing that is not set up, with what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SetupStep)]
struct Step {
    /// A name for programs.
    #[schema(example = "accounts")]
    id: &'static str,
    /// Whether the gateway cannot serve the model API without it.
    required: bool,
    /// What to do.
    title: &'static str,
    /// Why, and how.
    text: &'static str,
    /// A line for the shell or the environment.
    command: &'static str,
}

fn steps(status: &Status, access: Access) -> Vec<Step> {
    let mut steps = Vec::new();
    if status.store_available && status.accounts.total == 0 {
        steps.push(Step {
            id: "accounts",
            required: true,
            title: "Add an account",
            text: "The pool is empty, so requests are answered with 503. Sign in with a Google account, or import \
                   an accounts file with `accounts import`; the running gateway takes it over at once.",
            command: "antigravity-proxy accounts add",
        });
    } else if status.store_available && status.accounts.available == 0 {
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
    if status.oauth_client_refused {
        steps.push(Step {
            id: "oauth-client-refused",
            required: true,
            title: "Correct the OAuth client",
            text: "Google refuses it, so access tokens cannot be renewed; no account is at fault. Check both \
                   variables and restart.",
            command: "export OAUTH_CLIENT_ID=… OAUTH_CLIENT_SECRET=…",
        });
    }
    if !access.api_key {
        steps.push(Step {
            id: "api-key",
            required: false,
            title: "Protect the model API",
            text: "Anybody who reaches this port can use the pool. Make a key for each person; clients send it as \
                   ANTHROPIC_AUTH_TOKEN.",
            command: "antigravity-proxy keys create NAME",
        });
    }
    if !access.console_password {
        steps.push(Step {
            id: "console-password",
            required: false,
            title: "Set a console password",
            text: "Without one, this page shows its data on this machine only. It holds at once, on every gateway.",
            command: "antigravity-proxy password set",
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
            oauth_client_refused: false,
        };
        let ids = |status: &Status, api_key, console_password| -> Vec<_> {
            steps(status, Access { api_key, console_password }).iter().map(|step| step.id).collect()
        };
        assert_eq!(ids(&status, false, false), ["accounts", "oauth-client", "api-key", "console-password"]);
        // Nobody knows what the pool of a store is that does not answer.
        status.store_available = false;
        assert_eq!(ids(&status, true, true), ["oauth-client"]);
        status.store_available = true;
        status.oauth_client = true;
        status.oauth_client_refused = true;
        assert!(ids(&status, true, true).contains(&"oauth-client-refused"));
        status.oauth_client_refused = false;
        status.accounts.total = 2;
        assert_eq!(ids(&status, true, true), ["accounts-unusable"]);
        status.accounts.available = 1;
        assert_eq!(ids(&status, true, true), Vec::<&str>::new());
    }
}
