//! Tests of the built programs: gateway and simulator as processes, on free ports and directories of their own.
#![cfg(unix)]
#![cfg(test)]

mod access;
mod accounts;
mod balancer;
mod cases;
mod durability;
mod export;
mod gateway;
mod http;
mod ledger;
mod lifecycle;
mod load;
mod malformed;
mod outage;
mod redis_start;
mod replicas;
mod secrets;
mod settings;
mod simulator;
mod site;
mod start;
mod stream;
mod versions;

#[path = "../support/redis.rs"]
mod redis_server;
