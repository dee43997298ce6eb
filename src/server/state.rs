//! What every handler can reach.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::server::assets::Assets;
use crate::server::auth::{ApiKeys, ConsoleDoor};
use crate::server::drain::Drain;
use crate::server::gateway::Gateway;

/// Shared by all connections of a process; built once by the composition root.
pub struct AppState {
    /// The application behind the HTTP surface.
    pub gateway: Arc<dyn Gateway>,
    /// Time.
    pub clock: Clock,
    /// Started, draining, cut.
    pub drain: Drain,
    pub(crate) keys: ApiKeys,
    pub(crate) console: ConsoleDoor,
    pub(crate) assets: Assets,
    pub(crate) limits: BodyLimits,
}

/// How much of a request body is read, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes under `/v1`.
    pub(crate) model: usize,
    /// Bytes of an account import.
    pub(crate) import: usize,
    /// Bytes that a silent route drains.
    pub(crate) silent: usize,
    /// Longest pause between two pieces of a body.
    pub(crate) idle: Duration,
    /// Longest time for a whole body; pieces do not extend it.
    pub(crate) total: Duration,
}

const MIB: usize = 1024 * 1024;

impl AppState {
    /// Takes from `config` what the HTTP surface needs: keys, password, limits, directories.
    #[must_use]
    pub fn new(gateway: Arc<dyn Gateway>, config: &ServerConfig, clock: Clock, drain: Drain) -> Arc<Self> {
        let console = ConsoleDoor::new(
            config.webui_password.as_ref(),
            config.allow_insecure_console,
            config.allowed_hosts.clone(),
            clock.clone(),
        );
        Arc::new(Self {
            gateway,
            clock,
            drain,
            keys: ApiKeys::new(&config.api_keys),
            console,
            assets: Assets::new(config.public_dir.clone()),
            limits: BodyLimits {
                model: config.request_body_limit,
                import: 5 * MIB,
                silent: MIB,
                idle: Duration::from_secs(30),
                total: Duration::from_mins(5),
            },
        })
    }
}
