//! Rotation of encryption keys, in a gateway or without one.

use std::collections::HashMap;

use super::host::Host;
use crate::account::directory::Directory;
use crate::auth::rotation::{self, Rotated, RotationError};
use crate::auth::vault::Vault;
use crate::server::gateway::{NeededKey, RotationView, UnreadableSecret};
use crate::store::Store;
use crate::store::audit::{FieldChange, tell};
use crate::store::host::StoreError;
use crate::store::ident::ReplicaId;
use crate::store::ops::sealed::Place;

/// What a rotation works on.
pub(super) struct Rotation<'a> {
    pub(super) host: &'a Host,
    pub(super) store: &'a Store,
    pub(super) directory: &'a Directory,
    pub(super) vault: &'a Vault,
    /// The gateway that rotates, when it is one.
    pub(super) own: Option<&'a ReplicaId>,
}

impl Rotation<'_> {
    /// Seals everything anew; what an embedded store's journal remembers of before is dropped as well.
    pub(super) async fn run(&self, new_key: bool) -> Result<RotationView, RotationError> {
        let rotated = rotation::rotate(self.vault, self.store, self.own, new_key).await?;
        if rotated.resealed > 0 && self.host.forget_history()? {
            // Done when a later durable call returns.
            rotation::flush(self.vault, self.store).await?;
        }
        tell(FieldChange::to("newest", rotated.newest.as_str()));
        tell(FieldChange::to("resealed", rotated.resealed));
        let emails = if rotated.unreadable.is_empty() { HashMap::new() } else { self.emails().await? };
        Ok(view(self.vault, rotated, &emails))
    }

    async fn emails(&self) -> Result<HashMap<String, String>, StoreError> {
        let accounts = self.directory.list(&[]).await?;
        let damaged = accounts.damaged.iter().map(|one| (one.id.to_string(), one.name().to_owned()));
        Ok(accounts.readable.into_iter().map(|one| (one.id.to_string(), one.email)).chain(damaged).collect())
    }
}

fn view(vault: &Vault, rotated: Rotated, emails: &HashMap<String, String>) -> RotationView {
    let secret = |place| if place == Place::Credential { "credential" } else { "token" };
    RotationView {
        place: vault.place(),
        keys_in_file: vault.keys_in_file(),
        newest: rotated.newest,
        resealed: rotated.resealed,
        unreadable: rotated
            .unreadable
            .into_iter()
            .map(|one| UnreadableSecret {
                email: emails.get(&one.account).cloned().unwrap_or(one.account),
                secret: secret(one.place),
                reason: one.reason,
            })
            .collect(),
        retired: rotated.retired,
        needed: rotated.needed.into_iter().map(|(id, secrets)| NeededKey { id, secrets }).collect(),
    }
}
