//! SIGTERM and `drain` while answers are streamed.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, Home, PROGRAM, SOON, terminate, until};
use crate::http;
use crate::simulator::Simulator;
use crate::site::{ENCRYPTION_KEY, Site};
use crate::stream::Stream;

async fn refused(url: &str) -> bool {
    TcpStream::connect(http::split(url).0).await.is_err()
}

/// How long those of [`paced`] serve on.
const DELAY: Duration = Duration::from_millis(1500);

/// A gateway in the middle of an answer.
struct Streaming {
    simulator: Simulator,
    home: Home,
    gateway: Gateway,
    stream: Stream,
}

/// A gateway with these settings, whose answer comes as `then` says.
async fn streaming(settings: &Value, then: &Value) -> Streaming {
    let simulator = Simulator::with_accounts(1).await;
    simulator.rule(&json!({"when": {"text": "80 words"}, "then": then})).await;
    let home = Home::with(&simulator).file(settings);
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let gateway = home.start().await;
    let stream = Stream::open(&gateway, "write 80 words").await;
    Streaming { simulator, home, gateway, stream }
}

/// The answer has about 60 pieces, 6 s: well beyond the delay.
async fn paced() -> Streaming {
    let settings = json!({"drainDelayMs": u64::try_from(DELAY.as_millis()).unwrap()});
    let delivery = json!({"mode": "paced", "interval_ms": 100, "chunk_chars": 8});
    streaming(&settings, &json!({ "delivery": delivery })).await
}

/// The answer begins and never ends.
async fn endless(settings: &Value) -> Streaming {
    streaming(settings, &json!({"stall_after": 1})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_fails_probes_then_refuses_connections_and_lets_streams_finish() {
    let Streaming { mut gateway, stream, simulator: _simulator, home: _home } = paced().await;
    let ready = async |url: &str| http::get(&format!("{url}/readyz")).await;
    assert_eq!(ready(&gateway.url).await.status, 200);

    let clock = Clock::system();
    let signalled = clock.instant();
    gateway.terminate().await;
    until("the probe fails", async || ready(&gateway.url).await.status == 503).await;
    let noticed = clock.instant().duration_since(signalled);
    assert!(noticed < DELAY / 2, "the probe failed after {noticed:?}");
    let answer = ready(&gateway.metrics_url).await;
    assert_eq!((answer.status, &answer.json()["checks"]["accepting"]), (503, &json!(false)));
    assert_eq!(http::get(&format!("{}/livez", gateway.url)).await.status, 200);
    // Within the delay the whole service is there for those who have not noticed yet.
    let late = gateway.ask("reply with exactly: late").await;
    assert_eq!(late.status, 200, "{}", late.text());

    until("connections are refused", async || refused(&gateway.url).await).await;
    let closed = clock.instant().duration_since(signalled);
    assert!(closed >= DELAY, "refused after {closed:?} already");
    assert!(gateway.runs(), "the stream is still open");
    assert_eq!(ready(&gateway.metrics_url).await.status, 503);

    let text = stream.read_out().await;
    assert!(text.contains("event: message_stop"), "{text}");
    assert!(text.contains("\r\n0\r\n\r\n"), "the framing has its end: {text}");
    assert_eq!(gateway.ended(SOON).await.code(), Some(0), "{}", gateway.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_what_is_open() {
    let Streaming { mut gateway, stream, simulator, home: _home } = endless(&json!({})).await;
    gateway.terminate().await;
    until("connections are refused", async || refused(&gateway.url).await).await;
    assert!(gateway.runs(), "one signal waits");
    gateway.terminate().await;
    assert_eq!(gateway.ended(SOON).await.code(), Some(0), "{}", gateway.log.text());
    let text = stream.read_out().await;
    assert!(!text.contains("message_stop"), "{text}");
    until("the upstream's connection is closed", async || {
        let counts = http::get(&format!("{}/sim/connections", simulator.url)).await.json();
        counts["disconnects"].as_u64().is_some_and(|count| count > 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_ends_by_itself() {
    let Streaming { mut gateway, stream, home, simulator: _simulator } =
        endless(&json!({"shutdownGraceMs": 300})).await;
    gateway.terminate().await;
    assert_eq!(gateway.ended(SOON).await.code(), Some(0), "{}", gateway.log.text());
    assert!(!stream.read_out().await.contains("message_stop"));
    // What was going on is settled or lapses; the account is as good as before.
    let gateway = home.start().await;
    let answer = gateway.ask("reply with exactly: again").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commanded_drain_spends_the_delay_and_the_signal_after_it_only_waits_for_streams() {
    let Streaming { mut gateway, stream, home, simulator: _simulator } = paced().await;
    let clock = Clock::system();
    let begun = clock.instant();
    let noticed = async {
        until("the probe fails", async || {
            http::get(&format!("{}/readyz", gateway.metrics_url)).await.status == 503
        })
        .await;
        // Still served: not everybody has noticed yet.
        (clock.instant().duration_since(begun), gateway.ask("reply with exactly: late").await.status)
    };
    let (drained, (noticed, late)) = tokio::join!(home.run(&["drain"], b""), noticed);
    let returned = clock.instant().duration_since(begun);
    assert_eq!((drained.code, late), (Some(0), 200), "{}", drained.err);
    assert!(noticed < DELAY && returned >= DELAY, "noticed after {noticed:?}, returned after {returned:?}");
    until("connections are refused", async || refused(&gateway.url).await).await;
    assert!(gateway.runs(), "the stream is still open");

    // The orchestrator's signal, after its hook: the first one, so nothing is cut.
    gateway.terminate().await;
    let text = stream.read_out().await;
    assert!(text.contains("event: message_stop"), "{text}");
    assert_eq!(gateway.ended(SOON).await.code(), Some(0), "{}", gateway.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_gateway_ends_when_its_delay_is_over_however_the_drain_began() {
    let home = Home::new().file(&json!({"drainDelayMs": 3000}));
    let mut gateway = home.start().await;
    let clock = Clock::system();
    let begun = clock.instant();
    let signalled = async {
        until("the drain has begun", async || {
            http::get(&format!("{}/readyz", gateway.metrics_url)).await.status == 503
        })
        .await;
        gateway.terminate().await;
    };
    tokio::join!(home.run(&["drain"], b""), signalled);
    assert_eq!(gateway.ended(SOON).await.code(), Some(0), "{}", gateway.log.text());
    assert!(clock.instant().duration_since(begun) >= Duration::from_secs(3), "the signal did not shorten it");
    assert!(!gateway.log.text().contains("ending open streams"), "{}", gateway.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_there_is_nothing_to_drain() {
    let ended = Home::new().run(&["drain"], b"").await;
    assert_eq!(ended.code, Some(69), "{}", ended.err);
    assert!(ended.err.contains("no gateway listens here"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_for_its_store_ends_at_once() {
    // Nobody listens there, and the patience is longer than that of this test.
    let home = Home::new()
        .env("REDIS_URL", "redis://127.0.0.1:1")
        .env("ENCRYPTION_KEYS", ENCRYPTION_KEY)
        .file(&json!({ "storeOutageGraceMs": 300_000 }));
    let mut command = home.command(&["serve"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let waits = async {
        while let Some(line) = said.next_line().await.unwrap() {
            if line.contains("waiting for the store") {
                return;
            }
        }
        panic!("it ended");
    };
    tokio::time::timeout(SOON, waits).await.unwrap();
    terminate(child.id().unwrap()).await;
    assert_eq!(tokio::time::timeout(SOON, child.wait()).await.unwrap().unwrap().code(), Some(0));
}

/// The orchestrator kills what is still there 10 s after the time it gives to streams.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_store_and_collector_it_still_ends_in_time() {
    let site = Site::start(1).await;
    // Connections are accepted; nobody answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = format!("http://{}", silent.local_addr().unwrap());
    let mut gateway = site.home().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector).start().await;
    let answer = gateway.ask("reply with exactly: traced").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    site.redis.pause();
    gateway.terminate().await;
    let ended = gateway.ended(Duration::from_secs(10)).await;
    site.redis.resume();
    assert_eq!(ended.code(), Some(0), "{}", gateway.log.text());
    assert!(gateway.log.text().contains("did not reach the collector"), "{}", gateway.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_with_idle_connections_do_not_take_what_probes_need() {
    let home = Home::new();
    let limited = home.path().join("limited");
    std::fs::write(&limited, format!("#!/bin/sh\nulimit -n 128\nexec {PROGRAM} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&limited, std::fs::Permissions::from_mode(0o755)).unwrap();
    let gateway = home.program(&limited).start().await;
    let main = http::split(&gateway.url).0.to_owned();
    let mut idle = Vec::new();
    // Those beyond its bound wait in the system's queue.
    for _ in 0..160 {
        idle.push(TcpStream::connect(&main).await.unwrap());
    }
    for _ in 0..5 {
        assert_eq!(http::get(&format!("{}/livez", gateway.metrics_url)).await.status, 200);
        assert_eq!(http::get(&format!("{}/readyz", gateway.metrics_url)).await.status, 200);
    }
    assert!(gateway.log.text().contains("few files may be open"), "{}", gateway.log.text());
    drop(idle);
    until("it serves again", async || http::get(&format!("{}/livez", gateway.url)).await.status == 200).await;
}
