//! HTTP over plain sockets: what is sent is exactly what a test says.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest time for one exchange.
const LIMIT: Duration = Duration::from_mins(1);

/// An answer, or as much of it as came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    /// Without its chunked framing.
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Parses what a connection brought until it closed.
    fn parse(raw: &[u8]) -> Option<Self> {
        let end = raw.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&raw[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let rest = &raw[end + 4..];
        if status == 100 {
            return Self::parse(rest);
        }
        let (body, whole) = if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
            unchunk(rest)
        } else {
            let length = headers.get("content-length").and_then(|value| value.parse().ok());
            (rest.to_vec(), length.is_none_or(|length: usize| rest.len() >= length))
        };
        Some(Self { status, headers, body, whole })
    }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let Some(size) = size else { break };
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = rest.get(end + 2..end + 2 + size) else { break };
        body.extend_from_slice(chunk);
        rest = rest.get(end + 2 + size + 2..).unwrap_or_default();
    }
    (body, false)
}

/// `127.0.0.1:8080` of `http://127.0.0.1:8080/path`, and `/path`.
pub(crate) fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    rest.find('/').map_or((rest, "/"), |at| rest.split_at(at))
}

/// A request's text; the connection ends after its answer.
pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let (host, path) = split(url);
    let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        write!(text, "host: {host}\r\n").unwrap();
    }
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    let framed = headers.iter().any(|(name, _)| matches!(*name, "content-length" | "transfer-encoding"));
    if !framed && (!body.is_empty() || method == "POST") {
        write!(text, "content-length: {}\r\n", body.len()).unwrap();
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// Sends bytes and reads until the other side closes. Writing stops silently when the other side has had
/// enough, as real clients do.
pub(crate) async fn exchange(host: &str, bytes: &[u8]) -> Option<Answer> {
    let mut raw = Vec::new();
    let talk = async {
        let mut stream = TcpStream::connect(host).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (mut read, mut write) = stream.split();
        let sending = async {
            write.write_all(bytes).await.ok();
        };
        let reading = async {
            read.read_to_end(&mut raw).await.ok();
        };
        tokio::join!(sending, reading);
        Some(())
    };
    tokio::time::timeout(LIMIT, talk).await.unwrap_or_else(|_| panic!("no end after {LIMIT:?}"))?;
    Answer::parse(&raw)
}

/// One exchange that must bring an answer.
pub(crate) async fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let answer = exchange(split(url).0, &request(method, url, headers, body)).await;
    answer.unwrap_or_else(|| panic!("no answer: {method} {url}"))
}

pub(crate) async fn get(url: &str) -> Answer {
    send("GET", url, &[], b"").await
}

pub(crate) async fn post(url: &str, body: &Value) -> Answer {
    send("POST", url, &[("content-type", "application/json")], body.to_string().as_bytes()).await
}

/// A Messages request with one text of the user.
pub(crate) fn message(text: &str, stream: bool) -> Value {
    serde_json::json!({
        "model": "claude-sonnet-4-6",
        "max_tokens": 512,
        "stream": stream,
        "messages": [{"role": "user", "content": text}],
    })
}
