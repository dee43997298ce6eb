//! Every route of the router, and every trick to get past what guards it (spec `http-api.md` Appendix C.1): nobody
//! without credentials learns or changes anything.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use antigravity_proxy::server::openapi;
use antigravity_proxy::simulator::Scenario;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::routes::routes;
use crate::support::TestGateway;

const PASSWORD: &str = "open sesame";
const API_KEY: &str = "configured-key";
/// What strangers may have.
const PUBLIC: [&str; 8] = [
    "/",
    "/api/hello",
    "/api/event_logging/batch",
    "/livez",
    "/readyz",
    "/startupz",
    "/oauth-callback",
    "/oauth/callback",
];

/// What tells strangers little, and the owner everything.
const BRIEF: &str = "/api/config";

/// A gateway with something to protect.
struct House {
    gateway: TestGateway,
    address: String,
    /// A client's key, as somebody may have stolen it.
    stolen: String,
}

impl House {
    async fn build() -> Self {
        let gateway = TestGateway::start(Scenario::default().with_accounts(1), |config| {
            config.server.webui_password = Some(PASSWORD.to_owned().into());
            config.server.api_keys = vec![API_KEY.to_owned().into()];
        })
        .await;
        let url = gateway.client.request(reqwest::Method::GET, "/").build().unwrap().url().clone();
        let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let mut house = Self { gateway, address, stolen: String::new() };
        let made = house.owner("POST", "/api/keys", &json!({ "name": "marked-key" })).await;
        house.stolen = made["secret"].as_str().unwrap().to_owned();
        house.owner("PATCH", "/api/settings", &json!({ "settings": { "maxRetries": 7 } })).await;
        house
    }

    async fn owner(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = self.gateway.client.request(method.parse().unwrap(), path);
        let answer = request.header("x-webui-password", PASSWORD).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    /// Everything that a stranger might have changed.
    async fn contents(&self) -> Vec<Value> {
        let mut contents = Vec::new();
        for path in ["/api/accounts", "/api/keys", "/api/settings", "/readyz", "/api/server/presets"] {
            contents.push(self.owner("GET", path, &Value::Null).await);
        }
        // The model API is what the stolen key is for.
        for key in contents[1]["keys"].as_array_mut().unwrap() {
            key.as_object_mut().unwrap().remove("lastUsedAt");
        }
        // And the gateway learns of accounts by itself.
        for account in contents[0]["accounts"].as_array_mut().unwrap() {
            for learnt in ["subscription", "projectId", "modelRateLimits"] {
                account.as_object_mut().unwrap().remove(learnt);
            }
        }
        let trail = self.owner("GET", "/api/audit?limit=200", &Value::Null).await;
        let records = trail["records"].as_array().unwrap();
        // Of clients it tells that they used their keys.
        let operators = records.iter().filter(|one| {
            one["actor"]["kind"] != "stranger"
                && !(one["actor"]["kind"] == "key" && one["action"] == "tokens.refresh")
        });
        contents.push(operators.cloned().collect());
        contents
    }

    /// What no stranger may see.
    fn marks(&self) -> [&str; 6] {
        ["dev1@example.com", "marked-key", "1//", "maxRetries", &self.stolen, PASSWORD]
    }
}

/// One request as it goes over the wire.
#[derive(Clone, Debug)]
struct Trick {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    /// The route whose guard it tries to get past.
    route: String,
}

impl Trick {
    fn new(method: &str, target: &str, route: &str) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), route: route.into() }
    }

    fn with(mut self, headers: &[(&str, &str)]) -> Self {
        self.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }
}

/// A path with something in the place of its parameters.
fn filled(route: &str) -> String {
    let id = if route.starts_with("/v1/") { "some-model" } else { "marked-key" };
    route.replace("{email}", "dev1@example.com").replace("{id}", id).replace("{name}", "a-preset")
}

/// A letter as `%xx`.
fn encoded(path: &str, at: usize) -> String {
    let (before, rest) = path.split_at(at);
    let first = rest.chars().next().unwrap();
    format!("{before}%{:02x}{}", u32::from(first), &rest[first.len_utf8()..])
}

/// Other ways to write a path.
fn spellings(path: &str, address: &str) -> BTreeSet<String> {
    let last = path.rfind('/').unwrap();
    let mut all: BTreeSet<String> = [
        path.to_owned(),
        path.to_uppercase(),
        path.replacen("/api", "/Api", 1),
        format!("{path}/"),
        format!("{path}//"),
        format!("/{path}"),
        path.replacen('/', "//", 2),
        format!("{}/{}", &path[..last], &path[last..]),
        format!("/.{path}"),
        format!("/js/..{path}"),
        format!("/js/%2e%2e{path}"),
        format!("/js/..;{path}"),
        format!("/v1/..{path}"),
        format!("{path}/."),
        format!("{path}/.."),
        format!("{path};x"),
        format!("{path};x=y"),
        format!("{path}%00"),
        format!("{path}%20"),
        format!("{path}.json"),
        format!("{path}?password={PASSWORD}").replace(' ', "%20"),
        format!("{path}?ticket=x"),
        format!("{path}?"),
        format!("http://{address}{path}"),
        format!("http://localhost{path}"),
        format!("{path}%2f"),
        path.replacen('/', "/%2f", 1),
        path.replacen('/', "\\", 1).replacen('\\', "/\\", 1),
    ]
    .into();
    if path == "/api/logs/stream" {
        // Here it is taken, as the reference has it; a session or ticket is better (`tests/it/logs.rs`).
        all.retain(|spelling| !spelling.contains("?password="));
    }
    if path.len() > 1 {
        all.insert(encoded(path, 1));
        all.insert(encoded(path, path.len() - 1));
        all.insert(format!("{}%2f{}", &path[..last.max(1)], &path[last + 1..]));
    }
    all
}

fn tricks(house: &House) -> Vec<Trick> {
    let mut tricks = Vec::new();
    let bearer = format!("Bearer {}", house.stolen);
    let key = ("x-api-key", house.stolen.as_str());
    let json = ("content-type", "application/json");
    for (method, route) in routes(openapi::text()) {
        let path = filled(&route);
        for spelling in spellings(&path, &house.address) {
            for method in [method.as_str(), "HEAD", "OPTIONS"] {
                tricks.push(Trick::new(method, &spelling, &route).with(&[json]));
            }
        }
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get"] {
            tricks.push(Trick::new(method, &path, &route).with(&[json]));
        }
        for headers in [
            &[key][..],
            &[("authorization", bearer.as_str())],
            &[key, ("x-webui-password", "")],
            &[("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("x-real-ip", "127.0.0.1")],
            &[("host", "localhost")],
            &[("x-original-url", "/api/hello"), ("x-rewrite-url", "/api/hello")],
            &[("x-http-method-override", "GET"), ("x-method-override", "GET")],
            &[("cookie", "agp_session=agps_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")],
            &[("authorization", "Bearer agps_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")],
            &[("authorization", "Basic b3BlbjpzZXNhbWU=")],
            &[("x-setup-token", "agp_setup_x")],
            &[("origin", "http://evil.test"), ("access-control-request-method", "GET")],
        ] {
            tricks.push(Trick::new(&method, &path, &route).with(&[json]).with(headers));
        }
    }
    tricks
}

/// Sends it over a connection of its own: status, and everything that came.
async fn over_http1(address: &str, trick: &Trick) -> (u16, String) {
    let mut text = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", trick.method, trick.target);
    if !trick.headers.iter().any(|(name, _)| name == "host") {
        write!(text, "host: {address}\r\n").unwrap();
    }
    for (name, value) in &trick.headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    text += "content-length: 2\r\n\r\n{}";
    let mut raw = Vec::new();
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        // A connection that is cut has said what it had to say.
        stream.read_to_end(&mut raw).await.ok();
    };
    let ended = tokio::time::timeout(Duration::from_mins(1), talk).await.is_ok();
    assert!(ended, "no end of the answer to {trick:?}: {}", String::from_utf8_lossy(&raw));
    let text = String::from_utf8_lossy(&raw).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer to {trick:?}: {text:?}")), text)
}

/// The answer without the path that was asked for, which errors say again.
fn without_echo(text: &str) -> String {
    let mut said = text.to_owned();
    for (before, after) in [("Endpoint ", " not found"), (" is not allowed for ", "\"")] {
        let Some(begin) = said.find(before) else { continue };
        let end = said[begin..].find(after).map_or(said.len(), |at| begin + at);
        said.replace_range(begin..end, "");
    }
    said
}

/// As a request of HTTP/2, if it can be one.
fn as_request(address: &str, trick: &Trick) -> Option<Request<Full<Bytes>>> {
    let target = match trick.target.strip_prefix("http://") {
        Some(_) => trick.target.clone(),
        None => format!("http://{address}{}", trick.target),
    };
    let mut request = Request::builder().method(trick.method.as_str()).uri(target);
    for (name, value) in trick.headers.iter().filter(|(name, _)| name != "host") {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from_static(b"{}"))).ok()
}

fn judge(house: &House, trick: &Trick, status: u16, text: &str) {
    let route = trick.route.as_str();
    let said = without_echo(text);
    for mark in house.marks() {
        assert!(!said.contains(mark), "{mark} in the answer to {trick:?}: {text}");
    }
    let open = PUBLIC.contains(&route);
    let clients = route.starts_with("/v1/") || route == "/refresh-token";
    let keyed = trick.headers.iter().any(|(_, value)| value.contains(&house.stolen));
    let preflight = status == 204 && trick.method == "OPTIONS";
    let refused = matches!(status, 400 | 401 | 403 | 404 | 405 | 415 | 501);
    // It has a part for everybody.
    let brief = route == BRIEF && matches!(trick.method.as_str(), "GET" | "HEAD");
    assert!(refused || open || preflight || brief || (clients && keyed), "{status} to {trick:?}: {text}");
    assert!(status < 500 || status == 501, "{status} to {trick:?}: {text}");
    // The one that takes the password in its body.
    let login = route == "/api/session" && trick.method == "POST";
    let plain = trick.target == filled(route) && trick.headers.len() == 1;
    if route.starts_with("/api/") && !open && !brief && !login && plain {
        // Whoever may not know learns nothing of methods either.
        let expected = if status == 403 { 403 } else { 401 };
        assert!(preflight || status == expected, "{status} to {trick:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_any_route_opens_it() {
    let house = House::build().await;
    let before = house.contents().await;
    let tricks = tricks(&house);
    assert!(tricks.len() > 4_000, "{}", tricks.len());
    let mut answers = stream::iter(&tricks)
        .map(|trick| {
            let address = &house.address;
            async move { (trick, over_http1(address, trick).await) }
        })
        .buffer_unordered(16);
    while let Some((trick, (status, text))) = answers.next().await {
        judge(&house, trick, status, &text);
    }
    drop(answers);
    assert_eq!(house.contents().await, before, "nothing was changed, and no operator did anything");
    // Who has the password gets in everywhere; the key opens what it is for.
    assert_eq!(house.owner("GET", "/api/accounts/", &Value::Null).await["status"], "ok");
    let models = house.gateway.client.request(reqwest::Method::GET, "/v1/models");
    assert_eq!(models.header("x-api-key", &house.stolen).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_over_http2() {
    let house = House::build().await;
    let before = house.contents().await;
    let tricks = tricks(&house);
    let talks = tricks.chunks(100).map(|tricks| {
        let house = &house;
        async move {
            let stream = TcpStream::connect(&house.address).await.unwrap();
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            let mut tasks = tokio::task::JoinSet::new();
            tasks.spawn(connection);
            let mut asked = 0;
            // What is no address here was tried as it is over HTTP/1.
            for (trick, request) in
                tricks.iter().filter_map(|one| Some((one, as_request(&house.address, one)?)))
            {
                sender.ready().await.unwrap();
                let answer = sender.send_request(request).await;
                let answer = answer.unwrap_or_else(|error| panic!("{error}: {trick:?}"));
                let status = answer.status().as_u16();
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                judge(house, trick, status, &String::from_utf8_lossy(&body));
                asked += 1;
            }
            asked
        }
    });
    let asked: usize = stream::iter(talks).buffer_unordered(16).collect::<Vec<_>>().await.into_iter().sum();
    assert!(asked > 4_000, "{asked}");
    assert_eq!(house.contents().await, before);
}
