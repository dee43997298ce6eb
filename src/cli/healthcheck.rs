//! `healthcheck`: asks a gateway for `/livez`, and if wanted for its models and for an answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::args::HealthcheckArgs;
use super::exit::Exit;
use super::{exchange, output};
use crate::config::ServerConfig;

/// Time for a probe and for a list.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Time for a model's answer; the pool may have to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// Exit code 0 when all that was asked is well, 1 with a sentence when not.
pub(super) async fn run(config: &ServerConfig, asked: &HealthcheckArgs) -> anyhow::Result<Exit> {
    let Some(address) = asked.url.clone().or_else(|| address(config)) else {
        anyhow::bail!("the port is 0 and there is no metrics address: nowhere to ask (PORT, METRICS_ADDR)");
    };
    let gateway = Asked { address, key: config.api_keys.first() };
    if let Err(problem) = gateway.all(asked).await {
        output::complain(&format!("{}: {problem}", gateway.address));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Ok)
}

/// A gateway, and the key to show it.
struct Asked<'c> {
    address: String,
    key: Option<&'c SecretString>,
}

impl Asked<'_> {
    async fn all(&self, asked: &HealthcheckArgs) -> Result<(), String> {
        self.ask(Method::GET, "/livez", Value::Null, TIMEOUT).await?;
        if asked.models {
            let list = self.ask(Method::GET, "/v1/models", Value::Null, ANSWER_TIMEOUT).await?;
            if list["data"].as_array().is_none_or(Vec::is_empty) {
                return Err("offers no models: does the pool have accounts?".to_owned());
            }
        }
        if let Some(model) = &asked.model {
            let message = json!({
                "model": model,
                "max_tokens": 256,
                "messages": [{ "role": "user", "content": "Answer with one word." }],
            });
            let answer = self.ask(Method::POST, "/v1/messages", message, ANSWER_TIMEOUT).await?;
            if answer["type"] != "message" {
                return Err(format!("the answer of {model} is no message"));
            }
        }
        Ok(())
    }

    /// The body of a successful answer, or what is wrong.
    async fn ask(&self, method: Method, path: &str, body: Value, limit: Duration) -> Result<Value, String> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let exchange = async {
            let mut request = exchange::request(method, path, body)?;
            if let Some(key) = self.key.filter(|_| path.starts_with("/v1/")) {
                let mut key = HeaderValue::from_str(key.expose_secret())?;
                key.set_sensitive(true);
                request.headers_mut().insert("x-api-key", key);
            }
            exchange::send(TcpStream::connect(&self.address).await?, request).await
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(Ok((status, body))) if status.is_success() => {
                Ok(serde_json::from_slice(&body).unwrap_or_default())
            }
            Ok(Ok((status, body))) => Err(refused(path, status, &body)),
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(_) => Err(format!("{path}: no answer within {} s", limit.as_secs())),
        }
    }
}

/// The status, with the gateway's own sentence where it has one.
fn refused(path: &str, status: StatusCode, body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let sentence = answer["error"]["message"].as_str().map(|text| format!(": {text}")).unwrap_or_default();
    format!("{path} answered {status}{sentence}")
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
