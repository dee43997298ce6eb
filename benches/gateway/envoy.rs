//! Envoy as a plain proxy, in what the relay does: it takes the same requests and passes them through unchanged.
//!
//! It has as many workers as there are cores, as tokio has, and nothing that would cost it: no access log, no numbering of
//! requests, no statistics of routes, no retries, no time-outs. `TCP_NODELAY` is its default.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::peers::MISSING;
use crate::process::Child;
use crate::redis_server::free_port;

/// Starts it in front of `upstream`; its configuration goes to `folder`.
pub(crate) fn start(upstream: SocketAddr, folder: &Path) -> Result<Child> {
    let program = program().with_context(|| format!("Envoy is not installed: {MISSING}"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let file = folder.join("envoy.json");
    std::fs::write(&file, configuration(address, upstream).to_string())?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .arg("--config-path")
        .arg(file)
        .args(["--concurrency", &std::thread::available_parallelism()?.to_string()])
        .args(["--log-level", "critical", "--disable-hot-restart"]);
    Child::start_at(command, address)
}

/// The program in the Python package.
fn program() -> Option<PathBuf> {
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/lib");
    std::fs::read_dir(libraries)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/envoy/_bin/envoy")))
        .find(|path| path.exists())
}

fn configuration(address: SocketAddr, upstream: SocketAddr) -> serde_json::Value {
    let socket = |address: SocketAddr| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let extensions = "type.googleapis.com/envoy.extensions";
    let router = json!({
        "@type": format!("{extensions}.filters.http.router.v3.Router"),
        "dynamic_stats": false, "suppress_envoy_headers": true,
    });
    let connections = json!({
        "@type": format!("{extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "bench", "codec_type": "HTTP1", "generate_request_id": false,
        "stream_idle_timeout": "0s", "common_http_protocol_options": {"idle_timeout": "0s"},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}},
        ]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    });
    json!({"static_resources": {
        "listeners": [{"address": socket(address), "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": connections},
        ]}]}],
        // HTTP/1.1 is what a cluster speaks unless it is told otherwise.
        "clusters": [{"name": "upstream", "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": socket(upstream)}},
            ]}]},
        }],
    }})
}
