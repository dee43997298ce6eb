//! Named sets of settings: some are built in, the others are kept in the store (spec `http-api.md` §1.5.7).

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::config::Rejected;
use crate::server::error::ApiError;
use crate::store::ops::accounts::Change;

/// Longest name, in characters.
pub const PRESET_NAME_MAX: usize = 50;
/// Longest description, in characters.
pub const PRESET_DESCRIPTION_MAX: usize = 500;

/// What the console asks of server presets.
pub trait ServerPresets: Send + Sync {
    /// All of them: the built-in ones first, then the others by name.
    fn server_presets(&self) -> BoxFuture<'_, Result<Vec<ServerPreset>, PresetError>>;

    /// Adds one, or replaces the one of its name.
    fn save_server_preset(&self, new: NewPreset) -> BoxFuture<'_, Result<SavedPreset, PresetError>>;

    /// Changes one, and perhaps its name.
    fn change_server_preset<'a>(
        &'a self,
        name: &'a str,
        change: PresetChange,
    ) -> BoxFuture<'a, Result<SavedPreset, PresetError>>;

    /// Removes one; one that is not there is no error. Answers those that are left.
    fn remove_server_preset<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<ServerPreset>, PresetError>>;
}

/// A named set of settings.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerPreset {
    /// Its name, unique.
    pub name: String,
    /// Settings in the shape of the file; those that are not named stay as they are when it is applied.
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
    /// Set where it is built in; left out else.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub built_in: bool,
    /// The name of its description in the reference's tables of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description_key: Option<&'static str>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A preset to be kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewPreset {
    /// Its name; blanks around it do not count.
    pub name: String,
    /// Settings in the shape of the file; what is not right is left out and told.
    pub config: Map<String, Value>,
    /// What it is for.
    pub description: Option<String>,
}

/// A change of a preset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PresetChange {
    /// Its new name.
    pub name: Option<String>,
    /// Its new description.
    pub description: Change<String>,
    /// Settings in the shape of the file, which replace those of the same names.
    pub config: Option<Map<String, Value>>,
}

/// What became of a preset.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedPreset {
    /// Its name before the change.
    pub name: String,
    /// All presets now.
    pub presets: Vec<ServerPreset>,
    /// Settings that were left out, and why.
    pub rejected: Vec<Rejected>,
}

/// Why a preset cannot be kept, changed or removed; nothing was changed. The texts are those of the reference.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PresetError {
    /// It has no name.
    #[error("Preset name is required")]
    NoName,
    /// Its name is too long.
    #[error("Preset name must be {PRESET_NAME_MAX} characters or fewer")]
    LongName,
    /// Its name cannot be shown.
    #[error("Preset name must not have control characters")]
    BadName,
    /// Its description is too long.
    #[error("Preset description must be {PRESET_DESCRIPTION_MAX} characters or fewer")]
    LongDescription,
    /// None of its settings is right.
    #[error("No valid config fields provided")]
    NoConfig(Vec<Rejected>),
    /// Nothing would be changed.
    #[error("No updates provided")]
    NoChange(Vec<Rejected>),
    /// It would hide a built-in one.
    #[error("Cannot overwrite built-in preset \"{0}\"")]
    Overwrites(String),
    /// Built-in ones do not change.
    #[error("Cannot edit built-in preset \"{0}\"")]
    BuiltIn(String),
    /// Built-in ones stay.
    #[error("Cannot delete built-in preset \"{0}\"")]
    Stays(String),
    /// The new name is a built-in one's.
    #[error("Cannot use built-in preset name \"{0}\"")]
    Reserved(String),
    /// The new name is another one's.
    #[error("A preset named \"{0}\" already exists")]
    Taken(String),
    /// There is no such preset.
    #[error("Preset \"{0}\" not found")]
    Unknown(String),
    /// There are as many as may be.
    #[error("There are {0} presets already: delete one first")]
    Full(usize),
    /// Others change it at the same moment.
    #[error("Others change this preset at the same moment; try again")]
    Changed,
    /// The store failed.
    #[error("{}", .0.message())]
    Failed(ApiError),
}
