//! What a key's list of models may hold, for the API's document.

use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

use crate::auth::client_keys::{LONGEST_MODEL, MOST_MODELS};

/// Ids or patterns of models.
pub(super) fn models() -> Schema {
    model_list()
        .max_items(Some(MOST_MODELS))
        .description(Some("Models that it may use, `*` standing for anything; empty for all."))
        .into()
}

/// The same; `null` for all.
pub(super) fn models_or_null() -> Schema {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new()
        .item(Schema::from(model_list().min_items(Some(1)).max_items(Some(MOST_MODELS))))
        .item(Schema::from(null))
        .description(Some("Models that it may use, `*` standing for anything; `null` for all."))
        .into()
}

fn model_list() -> ArrayBuilder {
    let model = ObjectBuilder::new().schema_type(Type::String).max_length(Some(LONGEST_MODEL));
    ArrayBuilder::new().items(model.pattern(Some("^[!-~]*[A-Za-z0-9*][!-~]*$")))
}
