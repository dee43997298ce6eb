//! The OpenAPI document: what is made of the routes.
//!
//! A release carries it as it is committed; what makes it would be a tenth of the program, and most of that never used. CI
//! holds the two against each other.

#[cfg(any(test, feature = "simulator"))]
mod made;
pub(crate) mod settings;

use axum::response::Response;
use bytes::Bytes;

use crate::server::json;

#[cfg(any(test, feature = "simulator"))]
pub(super) use self::made::head;
#[cfg(any(test, feature = "simulator"))]
pub use self::made::{document, text};

/// The document, as it is committed and served.
#[cfg(not(any(test, feature = "simulator")))]
#[must_use]
pub fn text() -> &'static str {
    include_str!("../../docs/openapi.json")
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    operation_id = "getOpenApi",
    tag = "status",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub(super) async fn get() -> Response {
    json::bytes(Bytes::from_static(text().as_bytes()))
}
