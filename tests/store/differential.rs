//! Random commands on the embedded keyspace and on Redis and its kin: equal replies, equal contents.

use std::cell::RefCell;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::store::embedded::EmbeddedHost;
use antigravity_proxy::store::host::Reply;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::server::{Server, by_value, shown};
use crate::{COMMANDS, PERIODIC, Words, call, eval};

fn pick(options: &'static [&'static str]) -> BoxedStrategy<String> {
    prop::sample::select(options).prop_map(String::from).boxed()
}

/// Replies pass through Lua's doubles: beyond 2^53 upwards even Redis answers by machine, so integers stay below.
///
/// A template in which `k`, `f`, `v`, `n`, `s`, `b`, `r`, `t` stand for key, field, value, integer, score,
/// score bound, rank and time; everything else is itself.
fn commands() -> impl Strategy<Value = Words> {
    let templates: &'static [&'static str] = &[
        "GET k",
        "MGET k k k",
        "SET k v",
        "SET k v NX",
        "SET k v XX",
        "SET k v GET",
        "SET k v PXAT t",
        "SET k v XX KEEPTTL",
        "SET k v NX XX",
        "SET k n",
        "SET k v PX -1",
        "GETDEL k",
        "DEL k",
        "DEL k k",
        "EXISTS k k",
        "PEXPIREAT k t",
        "EXPIREAT k n",
        "PERSIST k",
        "TYPE k",
        "INCR k",
        "DECR k",
        "INCRBY k n",
        "DECRBY k d",
        "HSET k f v",
        "HSET k f v f n",
        "HSET k f v f",
        "HSET k f n",
        "HSETNX k f v",
        "HGET k f",
        "HMGET k f f f",
        "HDEL k f",
        "HDEL k f f",
        "HLEN k",
        "HEXISTS k f",
        "HINCRBY k f n",
        "ZADD k s f",
        "ZADD k s f s f",
        "ZADD k NX s f",
        "ZADD k XX s f",
        "ZADD k GT s f",
        "ZADD k LT CH s f",
        "ZADD k XX GT CH s f",
        "ZADD k NX GT s f",
        "ZADD k NX XX s f",
        "ZADD k s",
        "ZINCRBY k s f",
        "ZREM k f f",
        "ZSCORE k f",
        "ZMSCORE k f f",
        "ZCARD k",
        "ZCOUNT k b b",
        "ZRANGE k r r",
        "ZRANGE k r r WITHSCORES",
        "ZRANGE k r r REV",
        "ZRANGE k b b BYSCORE",
        "ZRANGE k b b BYSCORE REV WITHSCORES",
        "ZRANGE k b b BYSCORE LIMIT r r",
        "ZRANGE k r r LIMIT r r",
        "ZREVRANGE k r r WITHSCORES",
        "ZRANGEBYSCORE k b b",
        "ZRANGEBYSCORE k b b WITHSCORES LIMIT r r",
        "ZREVRANGEBYSCORE k b b LIMIT r r",
        "ZREMRANGEBYSCORE k b b",
        "ZREMRANGEBYRANK k r r",
        "PUBLISH k v",
    ];
    prop::sample::select(templates).prop_flat_map(|template| {
        let words: Vec<BoxedStrategy<String>> = template
            .split(' ')
            .map(|word| match word {
                "k" => pick(&["a", "b", "c"]),
                "f" => pick(&["x", "y", "z", ""]),
                "v" => pick(&["", "v", "12", "1.5", "-0", "007"]),
                "n" => pick(&["0", "1", "-3", "9007199254740991", "-9223372036854775808", "x", "+1"]),
                // Redis 6.2 lets the decrement by the least integer overflow.
                "d" => pick(&["0", "1", "-3", "9007199254740991", "9223372036854775807", "x", "+1"]),
                "s" => pick(&["0", "1", "-1.5", "0.1", "1e17", "-inf", "inf", "nan", "1e-5", "-0", "x"]),
                "b" => pick(&["-inf", "+inf", "0", "(0", "1", "(1", "0.1", "(1e17", "x"]),
                "r" => pick(&["0", "1", "2", "-1", "-2", "-9", "9", "x"]),
                "t" => pick(&["4000000000000", "4000000000001", "1", "x"]),
                other => Just(other.to_owned()).boxed(),
            })
            .collect();
        words
    })
}

/// Texts of errors differ between versions, their codes do not; nor do the values of scores.
fn comparable(command: &Words, reply: Reply) -> Reply {
    match reply {
        Reply::Error(mut error) => {
            error.message.clear();
            Reply::Error(error)
        }
        Reply::Bulk(text) if command[0].starts_with('Z') => {
            let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<f64>().ok());
            Reply::Bulk(number.map_or(text, |number| shown(number).into()))
        }
        Reply::Array(items) => {
            Reply::Array(items.into_iter().map(|item| comparable(command, item)).collect())
        }
        other => other,
    }
}

#[test]
fn random_commands_answer_as_redis_does() {
    let servers = RefCell::new(Server::each());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let history = prop::collection::vec(commands(), 1..60);
    TestRunner::new(config)
        .run(&history, |history| {
            let host = EmbeddedHost::in_memory(Clock::system(), &[]).unwrap();
            let ours: Vec<_> = history
                .iter()
                .map(|command| {
                    let call = call(&PERIODIC, std::slice::from_ref(command));
                    comparable(command, runtime.block_on(eval(&host, call)).unwrap())
                })
                .collect();
            let dump = by_value(&host.dump().unwrap());
            for server in servers.borrow_mut().iter_mut() {
                server.command(&[b"FLUSHALL"]);
                for (command, ours) in history.iter().zip(&ours) {
                    let count = command.len().to_string();
                    let mut words: Vec<&[u8]> = vec![b"EVAL", COMMANDS.as_bytes(), b"0", count.as_bytes()];
                    words.extend(command.iter().map(String::as_bytes));
                    let theirs = comparable(command, server.command(&words));
                    prop_assert_eq!(ours, &theirs, "{}: {:?}", server.name, command);
                }
                prop_assert_eq!(&dump, &server.dump(), "{}", server.name);
            }
            Ok(())
        })
        .unwrap();
}
