//! What a change of shared settings may hold, made from the table of settings.

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};

use crate::config::claude::{KEY_PLACEHOLDER, KEY_VARIABLE, NO_KEY, VARIABLES};
use crate::config::{Kind, SETTINGS, Setting, Sharing};

/// New value by key. `null` takes a key out of the store, also one that this version does not know.
pub(crate) fn changes() -> Schema {
    let shared = SETTINGS.iter().filter(|setting| setting.is_shared());
    let changes = shared.fold(ObjectBuilder::new().schema_type(Type::Object), |changes, setting| {
        changes.property(setting.key, value(setting))
    });
    let removed = Schema::Object(plain(Type::Null).build());
    let description =
        "New value by key; `null` takes it out of the store, also a key that this version does not know.";
    changes
        .description(Some(description))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(removed))))
        .into()
}

/// The value of one setting.
fn value(setting: &Setting) -> Schema {
    let when = match setting.sharing {
        Sharing::Live => "in force at once",
        Sharing::Restart => "in force in each gateway when it starts next",
        Sharing::Local => "never shared",
    };
    let description = format!("{} Allowed: {}; {when}.", setting.meaning, setting.kind.allowed());
    let one = |object: ObjectBuilder| Schema::from(object.description(Some(&description)));
    let several = |items: Vec<Schema>| {
        let null = Schema::from(plain(Type::Null));
        let items = items.into_iter().chain([null]);
        items.fold(OneOfBuilder::new().description(Some(&description)), OneOfBuilder::item).into()
    };
    match setting.kind {
        Kind::Bool => one(or_null(Type::Boolean)),
        Kind::Int(min, max) | Kind::Millis(min, max) => {
            one(or_null(Type::Integer).minimum(Some(min)).maximum(Some(max)))
        }
        Kind::IntChoice(values) => {
            let allowed = values.iter().copied().map(Value::from).chain([Value::Null]);
            one(or_null(Type::Integer).enum_values(Some(allowed)))
        }
        Kind::Number(min, max) => one(or_null(Type::Number).minimum(Some(min)).maximum(Some(max))),
        Kind::Fraction => one(or_null(Type::Number).minimum(Some(0)).exclusive_maximum(Some(1))),
        Kind::Bytes(min, max) => several(vec![
            plain(Type::Integer).minimum(Some(min)).maximum(Some(max)).into(),
            plain(Type::String).pattern(Some("^ *[0-9]+ *([kKmMgG]?[bB]?) *$")).into(),
        ]),
        Kind::Tiers(min, max) => {
            let wait = plain(Type::Integer).minimum(Some(min)).maximum(Some(max));
            let waits = ArrayBuilder::new().items(wait).min_items(Some(1)).max_items(Some(10));
            several(vec![waits.into()])
        }
        Kind::Choice(words) => {
            let allowed = words.iter().copied().map(Value::from).chain([Value::Null]);
            one(or_null(Type::String).enum_values(Some(allowed)))
        }
        Kind::Strategy => {
            let allowed =
                ["hybrid", "round-robin", "sticky"].map(Value::from).into_iter().chain([Value::Null]);
            one(or_null(Type::String).enum_values(Some(allowed)))
        }
        Kind::Header => one(or_null(Type::String).pattern(Some(r"^[\t -~]*$"))),
        Kind::Name => one(or_null(Type::String).pattern(Some("^[A-Za-z0-9._-]{1,64}$"))),
        Kind::Text
        | Kind::LogFilter
        | Kind::Address
        | Kind::Url(_)
        | Kind::BareUrl(_)
        | Kind::SecretUrl(_)
        | Kind::RedisUrl
        | Kind::RedisAddress
        | Kind::Secret
        | Kind::KeyRing
        | Kind::Path
        | Kind::File
        | Kind::Pairs
        | Kind::SecretHeaders => one(or_null(Type::String)),
        Kind::UrlList(_) | Kind::List | Kind::Networks | Kind::Origins | Kind::SecretList => {
            several(vec![texts().into(), text().into()])
        }
        Kind::ModelMapping => several(vec![
            map(Schema::from(OneOfBuilder::new().item(Schema::from(text())).item(Schema::from(mapping()))))
                .into(),
        ]),
        Kind::Aliases => several(vec![
            map(Schema::from(OneOfBuilder::new().item(Schema::from(texts())).item(Schema::from(text()))))
                .into(),
        ]),
        Kind::ClaudeProfile => several(vec![profile().into()]),
        Kind::TextMap => several(vec![map(Schema::from(text())).into()]),
    }
}

fn plain(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind)
}

fn or_null(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([kind, Type::Null]))
}

fn text() -> ObjectBuilder {
    plain(Type::String)
}

fn texts() -> ArrayBuilder {
    ArrayBuilder::new().items(text())
}

/// An object with names of any kind.
fn map(values: Schema) -> Object {
    plain(Type::Object).additional_properties(Some(values)).build()
}

/// What becomes of requests for one model.
fn mapping() -> Object {
    plain(Type::Object)
        .property("mapping", Schema::from(or_null(Type::String)))
        .property("hidden", Schema::from(or_null(Type::Boolean)))
        .property("pinned", Schema::from(or_null(Type::Boolean)))
        .build()
}

/// Variables of Claude Code.
fn profile() -> Object {
    let variables = VARIABLES.into_iter().fold(plain(Type::Object), |profile, name| {
        let value = match name {
            KEY_VARIABLE => text().enum_values(Some(["", NO_KEY, KEY_PLACEHOLDER])),
            _ => text().max_length(Some(1024)).pattern(Some(r"^[ -~]*$")),
        };
        profile.property(name, value)
    });
    variables.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false))).build()
}
