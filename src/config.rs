//! Typed settings with provenance.
//!
//! `settings.rs` is the table of all settings. Each source — built-in defaults, the file, the environment,
//! flags — becomes a layer of checked values ([`::config`] merges them; the later one wins), and the typed
//! sections below are filled from the result. Everything that is wrong is collected and reported at once;
//! nothing that is wrong is ever replaced by a default. Values from the shared store come in between file
//! and environment, at run time: gateways merge theirs with [`Loaded::with_shared`], scripts read theirs
//! themselves ([`SelectionConfig`]).
//!
//! Rules: `design.md` §6, spec `http-api.md` §3.

pub mod claude;
mod conversion;
mod desktop;
mod dispatch;
mod layer;
mod listing;
mod load;
mod models;
mod oauth;
mod patch;
mod presets;
mod problem;
mod redis;
mod reference;
pub mod roots;
mod selection;
mod server;
mod setting;
mod settings;
mod shape;
mod shared;
mod store;
mod telemetry;
mod traces;
mod upstream;
mod value;
mod values;

pub use self::redis::{RedisConfig, RedisEndpoint, RedisNode, SentinelEndpoint};
pub use claude::{ClaudeConfig, ClaudeMode};
pub use conversion::ConversionConfig;
pub use desktop::desktop_database;
pub use dispatch::DispatchConfig;
pub use listing::SettingRow;
pub use load::{Flags, LoadInput, Loaded};
pub use models::{AliasRule, ModelEntry, ModelsConfig};
pub use oauth::{CallbackMode, OAuthConfig};
pub use patch::{Judged, Patch, Rejected};
pub use presets::BuiltInPreset;
pub use problem::{ConfigErrors, Origin, Problem};
pub use reference::reference;
pub use selection::{SelectionConfig, Strategy};
pub use server::ServerConfig;
pub use setting::{Kind, Section, Setting, Sharing};
pub use settings::SETTINGS;
pub use shape::Shape;
pub use shared::SharedValues;
pub use store::StoreConfig;
pub use telemetry::{LogFormat, TelemetryConfig};
pub use traces::{TraceSampler, TracingConfig};
pub use upstream::{ProxyConfig, UpstreamConfig};

/// All settings of one process after `default < file < environment < flag`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Listener, limits, keys and shutdown.
    pub server: ServerConfig,
    /// The settings of a local Claude Code, as the console may edit them.
    pub claude: ClaudeConfig,
    /// Where shared state lives.
    pub store: StoreConfig,
    /// How the upstream is reached and how this client names itself.
    pub upstream: UpstreamConfig,
    /// Google's OAuth endpoints and the operator's client.
    pub oauth: OAuthConfig,
    /// Retries, waits and deadlines of one request.
    pub dispatch: DispatchConfig,
    /// What the admission script chooses by.
    pub selection: SelectionConfig,
    /// Aliases, mapping, fallback.
    pub models: ModelsConfig,
    /// Switches of the conversion.
    pub conversion: ConversionConfig,
    /// Logs and metrics.
    pub telemetry: TelemetryConfig,
    /// Traces.
    pub tracing: TracingConfig,
}
