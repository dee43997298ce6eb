//! What scripts see of the embedded host.

use antigravity_proxy::clock::Clock;
use antigravity_proxy::store::embedded::{EmbeddedHost, Options};
use antigravity_proxy::store::host::{Call, Event, Reply, ScriptHost, StoreError};
use antigravity_proxy::store::script::Script;
use bytes::Bytes;

use crate::{eval, run};

const NOW: i64 = 1_700_000_000_123;

fn host() -> EmbeddedHost {
    EmbeddedHost::in_memory(Clock::manual(NOW), &[]).unwrap()
}

fn script(source: &'static str) -> &'static Script {
    Box::leak(Box::new(Script::periodic("test", source)))
}

async fn lua(source: &'static str) -> Reply {
    eval(&host(), Call::new(script(source))).await.unwrap()
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

fn error_text(reply: &Reply) -> String {
    match reply {
        Reply::Error(error) => error.to_string(),
        other => panic!("expected an error, got {other:?}"),
    }
}

#[tokio::test]
async fn replies_convert_as_in_redis() {
    let cases = [
        ("return 3.99", Reply::Int(3)),
        ("return -3.99", Reply::Int(-3)),
        ("return 2^53", Reply::Int(1 << 53)),
        ("return nil", Reply::Nil),
        ("return", Reply::Nil),
        ("return false", Reply::Nil),
        ("return true", Reply::Int(1)),
        ("return 'a\\0b'", bulk("a\0b")),
        (
            "return {1, 'x', {2}}",
            Reply::Array(vec![Reply::Int(1), bulk("x"), Reply::Array(vec![Reply::Int(2)])]),
        ),
        ("return {1, nil, 3}", Reply::Array(vec![Reply::Int(1)])),
        ("return {1, false, 3}", Reply::Array(vec![Reply::Int(1), Reply::Nil, Reply::Int(3)])),
        ("return {}", Reply::Array(vec![])),
        ("return {ok = 'FINE'}", Reply::Status("FINE".into())),
        ("return redis.status_reply('FINE')", Reply::Status("FINE".into())),
        ("return redis.call('GET', 'absent') == false", Reply::Int(1)),
        ("return redis.call('HMGET', 'absent', 'a', 'b')", Reply::Array(vec![Reply::Nil, Reply::Nil])),
        ("return redis.call('SET', 'k', 'v').ok", bulk("OK")),
        ("redis.call('SET', 'k', 0.1) return redis.call('GET', 'k')", bulk("0.10000000000000001")),
        ("redis.call('SET', 'k', 12) return redis.call('GET', 'k')", bulk("12")),
        ("redis.call('SET', 'k', 1e17) return redis.call('GET', 'k')", bulk("1e+17")),
        ("return tostring(0.1 + 0.2)", bulk("0.3")),
        ("return #KEYS + #ARGV", Reply::Int(0)),
    ];
    for (source, expected) in cases {
        assert_eq!(lua(source).await, expected, "{source}");
    }
    assert_eq!(error_text(&lua("return {err = 'STALE roster'}").await), "STALE roster");
    assert_eq!(error_text(&lua("return redis.error_reply('STALE roster')").await), "STALE roster");
    assert_eq!(error_text(&lua("error({err = 'STALE roster'})").await), "STALE roster");
    assert!(error_text(&lua("error('no')").await).starts_with("ERR test:1: no"));
    assert!(
        error_text(&lua("redis.call('SET', 'k', 'v') redis.call('HGET', 'k', 'f')").await)
            .starts_with("WRONGTYPE")
    );
    let caught = lua("local ok, e = pcall(redis.call, 'HSET', 'k') return {ok and 1 or 0, e.err}").await;
    assert_eq!(caught.as_array().unwrap()[0], Reply::Int(0));
    assert!(error_text(&lua("return redis.call('FLUSHALL')").await).contains("'FLUSHALL'"));
}

#[tokio::test]
async fn globals_are_read_only_and_few() {
    for source in [
        "leak = 1",
        "string.x = 1",
        "math.floor = nil",
        "table.x = 1",
        "redis.call = nil",
        "getmetatable('').__index = {}",
        "return undefined_name",
        "rawset(string, 'x', 1)",
    ] {
        assert!(error_text(&lua(source).await).starts_with("ERR"), "{source}");
    }
    for name in [
        "io",
        "os",
        "load",
        "loadstring",
        "dofile",
        "require",
        "debug",
        "package",
        "setfenv",
        "getfenv",
        "collectgarbage",
        "print",
        "_G",
        "coroutine",
        "newproxy",
        "math.random",
        "string.dump",
    ] {
        let source: &'static str = Box::leak(format!("return {name} ~= nil").into_boxed_str());
        assert!(error_text(&lua(source).await).contains("unknown"), "{name}");
    }
    let offered = "return table.concat({type(tonumber), type(pairs), type(ipairs), type(next), type(select), \
                   type(unpack), type(pcall), type(assert), type(rawget), ('x'):upper(), math.floor(2.5)}, ',')";
    assert_eq!(lua(offered).await.as_str().unwrap().split(',').filter(|t| *t == "function").count(), 9);
}

#[tokio::test]
async fn a_runaway_script_is_stopped_and_the_next_one_runs() {
    let options = Options { max_instructions: 100_000, ..Options::default() };
    let host = EmbeddedHost::in_memory_with(Clock::manual(NOW), &[], &options).unwrap();
    for source in ["while true do end", "while true do pcall(function() while true do end end) end"] {
        let reply = eval(&host, Call::new(script(source))).await.unwrap();
        assert!(error_text(&reply).contains("ran too long"), "{reply:?}");
        let after =
            eval(&host, Call::new(script("local n = 0 for i = 1, 1000 do n = n + 1 end return n"))).await;
        assert_eq!(after.unwrap(), Reply::Int(1000));
    }
}

#[tokio::test]
async fn a_script_that_does_not_compile_is_refused() {
    let broken = script("return )");
    assert!(matches!(
        EmbeddedHost::in_memory(Clock::manual(NOW), &[broken]),
        Err(StoreError::Compile { .. })
    ));
}

#[tokio::test]
async fn keys_end_at_their_time() {
    let clock = Clock::manual(NOW);
    let host = EmbeddedHost::in_memory(clock.clone(), &[]).unwrap();
    run(&host, "SET a 1 PX 100").await;
    run(&host, "HSET h f 1").await;
    assert_eq!(run(&host, "PEXPIRE h 200").await, Reply::Int(1));
    assert_eq!(run(&host, "PTTL a").await, Reply::Int(100));
    assert_eq!(run(&host, "PTTL none").await, Reply::Int(-2));
    clock.advance_ms(100);
    assert_eq!(run(&host, "GET a").await, bulk("1"), "the last millisecond still counts");
    clock.advance_ms(1);
    assert_eq!(run(&host, "EXISTS a h").await, Reply::Int(1));
    assert_eq!(run(&host, "SET a 2 NX").await, Reply::Status("OK".into()));
    assert_eq!(run(&host, "PTTL a").await, Reply::Int(-1));
    assert_eq!(run(&host, "PERSIST h").await, Reply::Int(1));
    clock.advance_ms(10_000);
    assert_eq!(run(&host, "HLEN h").await, Reply::Int(1));
    assert_eq!(run(&host, "EXPIRE h 0").await, Reply::Int(1));
    assert_eq!(host.dump().unwrap(), "\"a\" expires=- string \"2\"\n");
}

#[tokio::test]
async fn time_is_the_injected_clock() {
    assert_eq!(
        lua("return redis.call('TIME')").await,
        Reply::Array(vec![bulk("1700000000"), bulk("123000")])
    );
}

#[tokio::test]
async fn publish_reaches_subscribers_in_order() {
    let host = host();
    let mut events = host.subscribe();
    let source = "redis.call('PUBLISH', 'a', '1') return redis.call('PUBLISH', 'b', '2')";
    assert_eq!(eval(&host, Call::new(script(source))).await.unwrap(), Reply::Int(1));
    let message = |channel: &str, payload: &'static str| Event::Message {
        channel: channel.to_owned(),
        payload: payload.into(),
    };
    assert_eq!(events.try_recv().unwrap(), message("a", "1"));
    assert_eq!(events.try_recv().unwrap(), message("b", "2"));
}

#[tokio::test]
async fn a_batch_answers_each_call_in_order() {
    let host = host();
    let batch = vec![
        Call::new(script("return redis.call('INCR', KEYS[1])")).key("n"),
        Call::new(script("error('x')")),
        Call::new(script("return redis.call('INCRBY', KEYS[1], ARGV[1])")).key("n").arg(5),
    ];
    let replies = host.eval(batch).await.unwrap();
    assert_eq!((&replies[0], &replies[2]), (&Reply::Int(1), &Reply::Int(6)));
    assert!(matches!(replies[1], Reply::Error(_)));
}
