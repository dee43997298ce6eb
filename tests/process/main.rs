//! Tests of the built programs: gateway and simulator as processes, on free ports and directories of their own.
#![cfg(unix)]
#![cfg(test)]

mod access;
mod accounts;
mod balancer;
mod cases;
mod client_keys;
mod console;
mod damage;
mod desktop;
mod durability;
mod export;
mod failover;
mod gateway;
mod healthcheck;
mod http;
mod keys;
mod ledger;
mod lifecycle;
mod linear;
mod live_requests;
mod load;
mod logs;
mod malformed;
mod moving;
mod outage;
mod redis_start;
mod refresh;
mod replay;
mod replicas;
mod request_lines;
mod script_calls;
mod secrets;
mod settings;
mod signin;
mod simulator;
mod site;
mod start;
mod stream;
mod terminal;
mod versions;

#[path = "../support/collector.rs"]
mod collector;
#[path = "../store/model/mod.rs"]
mod model;
#[path = "../support/redis.rs"]
mod redis_server;
#[path = "../support/tap.rs"]
mod tap;
#[path = "../support/tls.rs"]
mod tls;
#[path = "../support/topology.rs"]
mod topology;
