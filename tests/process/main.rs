//! Tests of the built programs: gateway and simulator as processes, on free ports and directories of their own.
#![cfg(unix)]
#![cfg(test)]

mod access;
mod accounts;
mod cases;
mod durability;
mod gateway;
mod http;
mod lifecycle;
mod malformed;
mod secrets;
mod settings;
mod simulator;
mod start;
