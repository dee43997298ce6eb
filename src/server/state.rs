//! What every handler can reach.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::client_keys::{ClientKeys, KeyRing};
use crate::auth::console::Console;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::server::assets::Assets;
use crate::server::door::ConsoleDoor;
use crate::server::drain::Drain;
use crate::server::event_stream::Streams;
use crate::server::gateway::Gateway;
use crate::server::listen::Shutdown;
use crate::server::proxies::Proxies;

/// Shared by all connections of a process; built once by the composition root.
pub struct AppState {
    /// The application behind the HTTP surface.
    pub gateway: Arc<dyn Gateway>,
    /// Time.
    pub clock: Clock,
    /// Started, draining, cut.
    pub drain: Drain,
    pub(crate) keys: ClientKeys,
    pub(crate) key_ring: KeyRing,
    pub(crate) console: ConsoleDoor,
    pub(crate) proxies: Proxies,
    pub(crate) assets: Assets,
    pub(crate) limits: BodyLimits,
    /// The address clients use, where the operator says so.
    pub(crate) public_base_url: Option<String>,
    /// The configured port.
    pub(crate) port: u16,
    pub(crate) shutdown: Shutdown,
    pub(crate) streams: Streams,
}

/// How much of a request body is read, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes under `/v1`.
    pub(crate) model: usize,
    /// Bytes of an account import.
    pub(crate) import: usize,
    /// Bytes of a migration.
    pub(crate) migration: usize,
    /// Bytes that a silent route drains.
    pub(crate) silent: usize,
    /// Longest pause between two pieces of a body.
    pub(crate) idle: Duration,
    /// Longest time for a whole body; pieces do not extend it.
    pub(crate) total: Duration,
}

const MIB: usize = 1024 * 1024;

impl AppState {
    /// Takes from `config` what the HTTP surface needs: limits, directories, who is trusted.
    #[must_use]
    pub fn new(
        gateway: Arc<dyn Gateway>,
        key_ring: KeyRing,
        console: Console,
        config: &ServerConfig,
        clock: Clock,
        drain: Drain,
    ) -> Arc<Self> {
        let console = ConsoleDoor::new(console, config);
        let streams = Streams::new(drain.clone(), clock.clone());
        Arc::new(Self {
            gateway,
            streams,
            clock,
            drain,
            keys: key_ring.keys().clone(),
            key_ring,
            console,
            proxies: Proxies::new(config.trusted_proxies.clone()),
            assets: Assets::new(config.public_dir.clone()),
            public_base_url: config.public_base_url.clone(),
            port: config.port,
            limits: BodyLimits {
                model: config.request_body_limit,
                import: 5 * MIB,
                migration: 64 * MIB,
                silent: MIB,
                idle: Duration::from_secs(30),
                total: Duration::from_mins(5),
            },
            shutdown: Shutdown::from(config),
        })
    }
}
