//! The console's API (`/api/*`), one file per resource.
//!
//! Answers are `{"status":"ok",…}` or `{"status":"error","error":"…"}` (spec `http-api.md` §1.4).

pub(crate) mod accounts;
pub(crate) mod audit;
mod body;
pub(crate) mod capacity;
pub(crate) mod claude;
pub(crate) mod config;
pub(crate) mod drain;
pub(crate) mod events;
pub(crate) mod keys;
pub(crate) mod logs;
pub(crate) mod models;
pub(crate) mod password;
pub(crate) mod presets;
pub(crate) mod replicas;
pub(crate) mod requests;
pub(crate) mod rotation;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod signin;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod strategy;
pub(crate) mod tickets;
pub(crate) mod usage;
