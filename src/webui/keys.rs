//! `/api/keys`: the client keys of the pool. A key is named by its id or name; its secret is in the answer that makes
//! it and nowhere else.

mod schema;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use http::StatusCode;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::anthropic::error::ErrorKind;
use crate::auth::client_keys::{KeyError, Made, NewKey};
use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::state::AppState;
use crate::server::whole;
use crate::server::{is_json, not_json, object, object_or_default, read_body};
use crate::store::host::StoreError;
use crate::store::ops::clients::{Client, ClientChange, Edit, Expiry};

/// Most bytes of a body.
const BODY_LIMIT: usize = 64 * 1024;
const DAY: Duration = Duration::from_hours(24);

/// A key in a path.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct KeyPath {
    /// The key's id or name.
    #[param(min_length = 1, example = "ada")]
    id: String,
}

type Which = Result<Path<KeyPath>, PathRejection>;

/// A key to be made. Of the three fields that give its end, one at most; without any it never ends.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = KeyCreation)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Creation {
    /// The name of its person or machine; no other key in force has it.
    #[schema(min_length = 1, max_length = 64, example = "ada")]
    name: String,
    /// When it ends.
    #[serde(default)]
    expires_at: Option<Moment>,
    /// When it ends, in days from now.
    #[serde(default, deserialize_with = "whole::or_null")]
    #[schema(minimum = 1, maximum = 36500)]
    expires_in_days: Option<u32>,
    /// When it ends, in milliseconds from now.
    #[serde(default, deserialize_with = "whole::or_null")]
    #[schema(minimum = 1, maximum = 3_153_600_000_000_i64)]
    expires_in_ms: Option<u64>,
    /// Models that it may use, `*` standing for anything; empty for all.
    #[serde(default)]
    #[schema(schema_with = schema::models, example = json!(["claude-haiku*"]))]
    models: Vec<String>,
}

/// A change of a key: what is left out stays, `null` takes away. Of the three fields that give its end, one at most.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = KeyChange)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Edition {
    /// Another name.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// When it ends; `null` for never.
    #[serde(default, deserialize_with = "edit")]
    #[schema(value_type = Option<Moment>)]
    expires_at: Edit<Moment>,
    /// When it ends, in days from now.
    #[serde(default, deserialize_with = "whole::or_null")]
    #[schema(minimum = 1, maximum = 36500)]
    expires_in_days: Option<u32>,
    /// When it ends, in milliseconds from now.
    #[serde(default, deserialize_with = "whole::or_null")]
    #[schema(minimum = 1, maximum = 3_153_600_000_000_i64)]
    expires_in_ms: Option<u64>,
    /// Models that it may use; `null` for all.
    #[serde(default, deserialize_with = "edit")]
    #[schema(schema_with = schema::models_or_null)]
    models: Edit<Vec<String>>,
}

/// How to rotate; may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = KeyRotation)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rotation {
    /// How long the secret before stays good, in milliseconds.
    #[serde(default, deserialize_with = "whole::required")]
    #[schema(maximum = 2_592_000_000_i64)]
    grace_ms: u64,
}

/// A time: ms since the epoch, or a text as in RFC 3339.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[schema(as = Time, value_type = Either, examples("2030-01-31T12:00:00Z", 1_896_091_200_000_i64))]
#[serde(try_from = "Value")]
pub(crate) struct Moment(i64);

/// A time as in RFC 3339.
#[derive(ToSchema)]
#[schema(as = DateTime, format = DateTime)]
#[expect(dead_code, reason = "describes what Moment reads")]
struct DateText(String);

/// Both forms of a time.
#[derive(ToSchema)]
#[schema(as = TimeForms)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what Moment reads")]
enum Either {
    /// Ms since the epoch.
    #[schema(title = "milliseconds")]
    Ms(i64),
    /// As in RFC 3339.
    #[schema(title = "text")]
    Text(DateText),
}

impl TryFrom<Value> for Moment {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let text = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let ms = whole::signed(&value).or_else(|| Some(text?.as_millisecond()));
        ms.map(Self).ok_or("expected a time: ms since the epoch, or a text such as 2030-01-31T12:00:00Z")
    }
}

fn edit<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Edit<T>, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.map_or(Edit::Clear, Edit::Set))
}

impl TryFrom<Creation> for NewKey {
    type Error = ApiError;

    fn try_from(body: Creation) -> Result<Self, ApiError> {
        let at = body.expires_at.map_or(Edit::Keep, Edit::Set);
        let expires = match ending(at, body.expires_in_days, body.expires_in_ms)? {
            Edit::Set(expiry) => Some(expiry),
            Edit::Keep | Edit::Clear => None,
        };
        Ok(Self { name: body.name, expires, models: body.models })
    }
}

impl TryFrom<Edition> for ClientChange {
    type Error = ApiError;

    fn try_from(body: Edition) -> Result<Self, ApiError> {
        let expires = ending(body.expires_at, body.expires_in_days, body.expires_in_ms)?;
        if matches!(&body.models, Edit::Set(models) if models.is_empty()) {
            return Err(ApiError::invalid("models: name at least one, or give null to allow all"));
        }
        let change = Self { name: body.name, expires, models: body.models, ..Self::default() };
        if change == Self::default() {
            let fields = "name, expiresAt, expiresInDays, expiresInMs or models";
            return Err(ApiError::invalid(format!("Nothing to change: give {fields}")));
        }
        Ok(change)
    }
}

/// The end that one of three fields gives.
fn ending(at: Edit<Moment>, days: Option<u32>, ms: Option<u64>) -> Result<Edit<Expiry>, ApiError> {
    let after = |left| Ok(Edit::Set(Expiry::After(left)));
    match (at, days, ms) {
        (Edit::Keep, None, None) => Ok(Edit::Keep),
        (Edit::Clear, None, None) => Ok(Edit::Clear),
        (Edit::Set(Moment(at_ms)), None, None) => Ok(Edit::Set(Expiry::At(at_ms))),
        (Edit::Keep, Some(days), None) => after(DAY.saturating_mul(days)),
        (Edit::Keep, None, Some(ms)) => after(Duration::from_millis(ms)),
        _ => Err(ApiError::invalid("Give one of expiresAt, expiresInDays and expiresInMs only")),
    }
}

/// The client keys of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct KeyList {
    /// Whether there is none, so that everybody may call the model API.
    open: bool,
    /// Configured keys first, then stored ones by name; revoked ones too.
    keys: Vec<KeyView>,
}

/// A client key, without anything of its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum KeyView {
    /// From the configuration.
    Configured(ConfiguredKey),
    /// From the store.
    Stored(StoredKey),
}

/// A key from the configuration (`API_KEY`): nothing here changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ConfiguredKey {
    /// `default`, `default-2`, ….
    #[schema(example = "default")]
    id: String,
    /// The same.
    name: String,
    /// Always `configuration`.
    source: FromConfiguration,
    /// Always `active`.
    state: KeyState,
    /// Always empty: it may use all models.
    models: Vec<String>,
}

/// A key in the store. Times are milliseconds since the Unix epoch, `null` where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredKey {
    /// Its id, which stays.
    #[schema(example = "key_1f0c2a9b8d7e6f50")]
    id: String,
    /// Its name.
    name: String,
    /// Always `store`.
    source: FromStore,
    /// How it stands.
    state: KeyState,
    /// Models that it may use; empty for all.
    models: Vec<String>,
    /// When it was made.
    created_at: i64,
    /// When it ends.
    expires_at: Option<i64>,
    /// When it was revoked.
    revoked_at: Option<i64>,
    /// When it was used last, to the minute.
    last_used_at: Option<i64>,
    /// Until when the secret before is good besides.
    previous_secret_until: Option<i64>,
}

/// Where a configured key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FromConfiguration {
    Configuration,
}

/// Where a stored key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FromStore {
    Store,
}

/// How a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyState {
    /// In force.
    Active,
    /// Its time is over.
    Expired,
    /// Revoked for good.
    Revoked,
}

/// All client keys.
///
/// Configured ones first, then stored ones by name; revoked ones too.
#[utoipa::path(
    get,
    path = "/api/keys",
    operation_id = "listKeys",
    tag = "keys",
    responses((status = 200, description = "The keys", body = Answer<KeyList>))
)]
pub(crate) async fn list(State(state): State<Arc<AppState>>) -> Result<Answer<KeyList>, ApiError> {
    let (clients, now_ms) = state.key_ring.list().await.map_err(|error| refusal(&error))?;
    Ok(listed(state.keys.configured(), &clients, now_ms, state.keys.is_open()))
}

/// The answer to a listing; the command line prints from the same shape.
pub(crate) fn listed(
    configured: Vec<String>,
    clients: &[Client],
    now_ms: i64,
    open: bool,
) -> Answer<KeyList> {
    let configured = configured.into_iter().map(|name| {
        KeyView::Configured(ConfiguredKey {
            id: name.clone(),
            name,
            source: FromConfiguration::Configuration,
            state: KeyState::Active,
            models: Vec::new(),
        })
    });
    let stored = clients.iter().map(|client| KeyView::Stored(view(client, now_ms)));
    Answer::new(KeyList { open, keys: configured.chain(stored).collect() })
}

/// A stored key without its digests.
fn view(client: &Client, now_ms: i64) -> StoredKey {
    let over = |end: Option<i64>| end.is_some_and(|end| end <= now_ms);
    let state = match client.revoked_ms {
        Some(_) => KeyState::Revoked,
        None if over(client.expires_ms) => KeyState::Expired,
        None => KeyState::Active,
    };
    StoredKey {
        id: client.id.as_str().to_owned(),
        name: client.name.clone(),
        source: FromStore::Store,
        state,
        models: client.models.clone(),
        created_at: client.created_ms,
        expires_at: client.expires_ms,
        revoked_at: client.revoked_ms,
        last_used_at: client.used_ms,
        previous_secret_until: client.before.as_ref().map(|(_, end)| *end).filter(|end| *end > now_ms),
    }
}

/// A key and its new secret, which is shown this once only.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyTold {
    /// The key.
    key: StoredKey,
    /// What its holder sends.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "agp_…")]
    secret: SecretString,
    /// Whether it is the pool's first key: from now on every gateway asks for one on the model API.
    first: bool,
}

fn shown<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// A key as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct KeyChanged {
    /// The key.
    key: StoredKey,
}

/// Makes a key.
#[utoipa::path(
    post,
    path = "/api/keys",
    operation_id = "createKey",
    tag = "keys",
    request_body(
        content = Creation,
        example = json!({ "name": "ada", "expiresInDays": 90, "models": ["claude-haiku*"] })
    ),
    responses(
        (status = 201, description = "The key with its secret", body = Answer<KeyTold>),
        (status = 409, description = "A key in force has the name, or there are too many")
    )
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<(StatusCode, Answer<KeyTold>), ApiError> {
    let body = read::<Creation>(&state, request).await?;
    let made = state.key_ring.create(&body.try_into()?).await.map_err(|error| refusal(&error))?;
    Ok((StatusCode::CREATED, told(made, state.keys.now_ms())))
}

/// The answer that shows a secret; the command line prints from the same shape.
pub(crate) fn told(made: Made, now_ms: i64) -> Answer<KeyTold> {
    Answer::new(KeyTold { key: view(&made.client, now_ms), secret: made.secret, first: made.first })
}

/// Changes name, end or models of a key.
#[utoipa::path(
    patch,
    path = "/api/keys/{id}",
    operation_id = "changeKey",
    tag = "keys",
    params(KeyPath),
    request_body(content = Edition, example = json!({ "name": "ada's laptop", "expiresAt": null })),
    responses(
        (status = 200, description = "The key as it is now", body = Answer<KeyChanged>),
        (status = 404, description = "There is no such key"),
        (status = 409, description = "It is revoked or configured, or another key has the name")
    )
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    which: Which,
    request: Request,
) -> Result<Answer<KeyChanged>, ApiError> {
    let which = named(which)?;
    let body = read::<Edition>(&state, request).await?;
    let client = state.key_ring.edit(&which, body.try_into()?).await.map_err(|error| refusal(&error))?;
    Ok(changed(&client, state.keys.now_ms()))
}

/// The answer to a change; the command line prints from the same shape.
pub(crate) fn changed(client: &Client, now_ms: i64) -> Answer<KeyChanged> {
    Answer::new(KeyChanged { key: view(client, now_ms) })
}

/// Gives a key a new secret.
///
/// The one before stays good for the grace that is asked for.
#[utoipa::path(
    post,
    path = "/api/keys/{id}/rotate",
    operation_id = "rotateKey",
    tag = "keys",
    params(KeyPath),
    request_body = Option<Rotation>,
    responses(
        (status = 200, description = "The key with its new secret", body = Answer<KeyTold>),
        (status = 404, description = "There is no such key"),
        (status = 409, description = "It is revoked or configured")
    )
)]
pub(crate) async fn rotate(
    State(state): State<Arc<AppState>>,
    which: Which,
    request: Request,
) -> Result<Answer<KeyTold>, ApiError> {
    let which = named(which)?;
    let Rotation { grace_ms } = read_or_default(&state, request).await?;
    let made = state
        .key_ring
        .rotate(&which, Duration::from_millis(grace_ms))
        .await
        .map_err(|error| refusal(&error))?;
    Ok(told(made, state.keys.now_ms()))
}

/// Revokes a key for good.
#[utoipa::path(
    delete,
    path = "/api/keys/{id}",
    operation_id = "revokeKey",
    tag = "keys",
    params(KeyPath),
    responses(
        (status = 200, description = "The key as it is now", body = Answer<KeyChanged>),
        (status = 404, description = "There is no such key"),
        (status = 409, description = "It is configured, or revoked already")
    )
)]
pub(crate) async fn revoke(
    State(state): State<Arc<AppState>>,
    which: Which,
) -> Result<Answer<KeyChanged>, ApiError> {
    let which = named(which)?;
    let client = state.key_ring.revoke(&which).await.map_err(|error| refusal(&error))?;
    Ok(changed(&client, state.keys.now_ms()))
}

/// Revokes a key for good, as `DELETE` does.
#[utoipa::path(
    post,
    path = "/api/keys/{id}/revoke",
    operation_id = "revokeKeyByPost",
    tag = "keys",
    params(KeyPath),
    responses(
        (status = 200, description = "The key as it is now", body = Answer<KeyChanged>),
        (status = 404, description = "There is no such key"),
        (status = 409, description = "It is configured, or revoked already")
    )
)]
pub(crate) async fn revoke_by_post(
    state: State<Arc<AppState>>,
    which: Which,
) -> Result<Answer<KeyChanged>, ApiError> {
    revoke(state, which).await
}

fn named(which: Which) -> Result<String, ApiError> {
    which
        .map(|Path(KeyPath { id })| id)
        .map_err(|_| ApiError::invalid("The key in the path is not valid UTF-8"))
}

async fn read<T: DeserializeOwned>(state: &AppState, request: Request) -> Result<T, ApiError> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    let body = read_body(request, BODY_LIMIT, &state.limits, &state.clock).await?;
    object(&body)
}

async fn read_or_default<T: DeserializeOwned + Default>(
    state: &AppState,
    request: Request,
) -> Result<T, ApiError> {
    let json = is_json(request.headers());
    let body = read_body(request, BODY_LIMIT, &state.limits, &state.clock).await?;
    match &body[..] {
        [] => Ok(T::default()),
        _ if !json => Err(not_json()),
        body => object_or_default(body),
    }
}

/// An error of the key ring on the wire.
pub(crate) fn refusal(error: &KeyError) -> ApiError {
    let text = error.to_string();
    match error {
        KeyError::Name(_) | KeyError::Models | KeyError::Expiry | KeyError::Grace => ApiError::invalid(text),
        KeyError::Taken(_) | KeyError::Full | KeyError::Revoked(_) | KeyError::Configured(_) => {
            ApiError::invalid(text).with_status(StatusCode::CONFLICT)
        }
        KeyError::Unknown(_) => ApiError::new(ErrorKind::NotFound, text),
        KeyError::Store(StoreError::Unavailable { .. } | StoreError::ReadOnly { .. }) => {
            tracing::warn!(error = text, "the store refused an operation");
            ApiError::store_unavailable()
        }
        KeyError::Store(_) | KeyError::Random => {
            tracing::warn!(error = text, "a client key could not be read or changed");
            ApiError::internal()
        }
    }
}
