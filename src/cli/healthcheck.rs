//! `healthcheck`: asks the gateway on this machine for `/livez`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::net::TcpStream;

use super::exit::Exit;
use super::{exchange, output};
use crate::config::ServerConfig;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Exit code 0 when the gateway lives, 1 with a sentence when not.
pub(super) async fn run(config: &ServerConfig) -> anyhow::Result<Exit> {
    let Some(address) = address(config) else {
        anyhow::bail!("the port is 0 and there is no metrics address: nowhere to ask (PORT, METRICS_ADDR)");
    };
    let ask = async {
        let connection = TcpStream::connect(&address).await?;
        exchange::exchange(connection, Method::GET, "/livez", Bytes::new()).await
    };
    let problem = match tokio::time::timeout(TIMEOUT, ask).await {
        Ok(Ok((status, _))) if status.is_success() => return Ok(Exit::Ok),
        Ok(Ok((status, _))) => format!("answered {status}"),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => format!("did not answer within {} s", TIMEOUT.as_secs()),
    };
    output::complain(&format!("{address}: {problem}"));
    Ok(Exit::Failed)
}

/// The main listener, or with port 0 (unknown from outside) the metrics listener.
fn address(config: &ServerConfig) -> Option<String> {
    if config.port == 0 {
        return config.metrics_addr.map(|addr| format!("{}:{}", reachable(addr.ip()), addr.port()));
    }
    let host = config.host.trim_matches(['[', ']']);
    let host = host.parse().map_or_else(|_| host.to_owned(), reachable);
    Some(format!("{host}:{}", config.port))
}

/// The loopback address of the same family for "any address", else the address; IPv6 in brackets.
fn reachable(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("[{}]", Ipv6Addr::LOCALHOST),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_ask() {
        let at = |host: &str, port| address(&ServerConfig { host: host.into(), port, ..Default::default() });
        assert_eq!(at("0.0.0.0", 80).as_deref(), Some("127.0.0.1:80"));
        assert_eq!(at("::", 80).as_deref(), Some("[::1]:80"));
        assert_eq!(at("[::1]", 80).as_deref(), Some("[::1]:80"));
        assert_eq!(at("gateway.example", 80).as_deref(), Some("gateway.example:80"));
        assert_eq!(at("10.1.1.1", 0).as_deref(), Some("127.0.0.1:9464"));
        let nowhere = ServerConfig { port: 0, metrics_addr: None, ..Default::default() };
        assert_eq!(address(&nowhere), None);
    }
}
