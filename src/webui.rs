//! The console's API (`/api/*`), one file per resource.
//!
//! Answers are `{"status":"ok",…}` or `{"status":"error","error":"…"}` (spec `http-api.md` §1.4).

pub(crate) mod accounts;
pub(crate) mod replicas;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod store;
