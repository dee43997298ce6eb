//! Query parameters.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};

use crate::server::error::ApiError;

/// The query, read into `T`; 400 with the reason when it does not fit. What `T` does not know is ignored, unless it
/// says `deny_unknown_fields`.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(read)) => Ok(Self(read)),
            Err(rejection) => Err(ApiError::invalid(rejection.body_text())),
        }
    }
}

/// A switch as the reference reads it: `true` is on, anything else is off.
pub(crate) fn wanted<'d, D: Deserializer<'d>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(String::deserialize(deserializer)? == "true")
}
