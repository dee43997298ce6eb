//! The store's suites: embedded host, its journal, the scripts, and the same on Redis and its kin.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it skips"
)]

mod agreement;
mod asks;
mod audit;
mod behaviour;
mod capacity;
mod census;
mod clients;
mod console;
mod damage;
mod day;
mod differential;
mod embedded;
mod explain;
mod feed;
mod feed_churn;
mod harness;
mod histories;
mod journal;
mod large_pools;
mod leases;
mod model;
mod mutants;
mod plain;
mod presets;
mod redis_host;
#[path = "../support/redis.rs"]
mod redis_server;
mod referee;
mod refreshes;
mod replicas;
mod restore;
mod room;
mod scores;
mod scripts;
mod sealed;
mod server;
mod signins;
mod sticky;
#[path = "../support/tls.rs"]
mod tls;
mod topologies;
#[path = "../support/topology.rs"]
mod topology;
mod usage;
mod vectors;

use antigravity_proxy::store::embedded::EmbeddedHost;
use antigravity_proxy::store::host::{Call, Reply, ScriptHost, StoreError};
use antigravity_proxy::store::script::Script;

/// Runs commands: each as its number of words, then its words. Answers the last reply.
const COMMANDS: &str = "
local at, reply = 1, false
while at <= #ARGV do
    local words = tonumber(ARGV[at])
    reply = redis.pcall(unpack(ARGV, at + 1, at + words))
    at = at + words + 1
end
return reply";

static PERIODIC: Script = Script::periodic("commands", COMMANDS);
static FSYNC: Script = Script::fsync("commands_fsync", COMMANDS);

/// A command as its words.
type Words = Vec<String>;

fn words(line: &str) -> Words {
    line.split_whitespace().map(Into::into).collect()
}

fn call(script: &'static Script, commands: &[Words]) -> Call {
    commands.iter().fold(Call::new(script), |call, command| {
        command.iter().fold(call.arg(command.len()), |call, word| call.arg(word.as_str()))
    })
}

/// One call of one command.
async fn run(host: &EmbeddedHost, line: &str) -> Reply {
    eval(host, call(&PERIODIC, &[words(line)])).await.unwrap()
}

async fn eval(host: &EmbeddedHost, call: Call) -> Result<Reply, StoreError> {
    host.eval(vec![call]).await.map(|mut replies| replies.remove(0))
}
