//! `POST /api/accounts/rotate-keys`: seals every secret anew with the newest encryption key.

use std::sync::Arc;

use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::gateway::RotationView;
use crate::server::state::AppState;
use crate::server::{object_or_default, read_body};
use crate::webui::body;

/// What may be asked for; an empty body is the same as `{}`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RotationWish)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Wish {
    /// Make the newest key first; only where keys live in a file.
    #[serde(default)]
    new_key: bool,
}

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RotationDone)]
pub(crate) struct Done {
    /// In detail.
    rotation: RotationView,
    /// In words, with what is to be done next.
    message: String,
}

/// Seals every secret anew with the newest encryption key.
///
/// May be repeated; an error has changed nothing or left the rest for the next time.
#[utoipa::path(
    post,
    path = "/api/accounts/rotate-keys",
    operation_id = "rotateEncryptionKeys",
    tag = "accounts",
    request_body = Option<Wish>,
    responses(
        (status = 200, description = "What was done", body = Answer<Done>),
        (status = 409, description = "The gateways do not know the same keys yet")
    )
)]
pub(crate) async fn rotate(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Done>, ApiError> {
    let body = read_body(request, body::LIMIT, &state.limits, &state.clock).await?;
    let wish: Wish = object_or_default(&body)?;
    let rotation = state.gateway.rotate_keys(wish.new_key).await?;
    Ok(rotated(rotation))
}

/// The answer to a rotation; the command line prints from the same shape.
pub(crate) fn rotated(rotation: RotationView) -> Answer<Done> {
    Answer::new(Done { message: message(&rotation), rotation })
}

fn message(rotation: &RotationView) -> String {
    let RotationView { newest, place, resealed, .. } = rotation;
    let mut said = vec![format!("{resealed} secrets sealed anew with key {newest}.")];
    if !rotation.unreadable.is_empty() {
        let count = rotation.unreadable.len();
        said.push(format!(
            "{count} do not open: sign in to those accounts or import them again, or remove them."
        ));
    }
    for key in &rotation.needed {
        // Another rotation opens them no more than this one did.
        let then = if rotation.unreadable.is_empty() {
            "rotate again; a sign-in that waits takes ten minutes at most"
        } else {
            "when none is left that does not open, rotate again"
        };
        said.push(format!("Key {} is still needed for {} secrets: {then}.", key.id, key.secrets));
    }
    if !rotation.retired.is_empty() {
        let ids = rotation.retired.join(", ");
        said.push(if rotation.keys_in_file {
            format!("Nothing needs key {ids} any more; {place} is without it.")
        } else {
            format!("Nothing needs key {ids} any more: take it out of {place} on every gateway.")
        });
    }
    said.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::gateway::{NeededKey, UnreadableSecret};

    #[test]
    fn messages_say_what_is_to_be_done() {
        let mut rotation = RotationView {
            newest: "bbbbbbbb".into(),
            place: "ENCRYPTION_KEYS".into(),
            resealed: 3,
            retired: vec!["aaaaaaaa".into()],
            ..RotationView::default()
        };
        let text = message(&rotation);
        assert!(text.contains("take it out of ENCRYPTION_KEYS on every gateway"), "{text}");
        rotation.keys_in_file = true;
        assert!(message(&rotation).ends_with("ENCRYPTION_KEYS is without it."));
        rotation.needed = vec![NeededKey { id: "cccccccc".into(), secrets: 2 }];
        assert!(message(&rotation).contains("Key cccccccc is still needed for 2 secrets: rotate again;"));
        rotation.unreadable = vec![UnreadableSecret {
            email: "a@b".into(),
            secret: "credential",
            reason: "a stored secret does not open".into(),
        }];
        let text = message(&rotation);
        assert!(text.contains("1 do not open: sign in") && !text.contains("secrets: rotate again"), "{text}");
    }
}
