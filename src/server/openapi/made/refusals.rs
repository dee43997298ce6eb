//! Errors that many operations share.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{Components, Content, ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::Guard;
use crate::server::access::{Access, family};
use crate::server::answer::{ConsoleError, ModelError};
use crate::server::error::Family;

/// A refusal: its status, its name in the document, and when it is given.
struct Refusal {
    status: &'static str,
    name: &'static str,
    when: &'static str,
    /// Whether it says in `retry-after` when to come again.
    retry_after: bool,
}

const MALFORMED: Refusal =
    refusal("400", "Malformed", "A parameter, or the body, is not what the operation takes");
const UNKNOWN: Refusal = refusal("401", "Unauthorized", "The credentials are missing or wrong");
const FORBIDDEN: Refusal = refusal(
    "403",
    "Forbidden",
    "The caller may not do this: from another machine where no password is set, under a host name that is not \
     allowed, or from another site's page",
);
const CONTROL: Refusal =
    refusal("403", "ControlOnly", "The operation exists over the control socket in the data directory only");
const SLOW: Refusal = refusal("408", "TooSlow", "The body arrived too slowly");
const LARGE: Refusal = refusal("413", "TooLarge", "The body exceeds the limit");
const NOT_JSON: Refusal = refusal("415", "NotJson", "The body is not `application/json`, or is compressed");
const ATTEMPTS: Refusal = Refusal {
    retry_after: true,
    ..refusal("429", "TooManyAttempts", "Too many wrong passwords came from this address")
};
const INTERNAL: Refusal =
    refusal("500", "Internal", "Something went wrong here; the log knows more under the request's id");
const AWAY: Refusal = refusal("503", "StoreAway", "The store does not answer; try again");

const fn refusal(status: &'static str, name: &'static str, when: &'static str) -> Refusal {
    Refusal { status, name, when, retry_after: false }
}

impl Family {
    /// The name of the schema of its errors.
    fn schema(self) -> String {
        match self {
            Self::Console => ConsoleError::name().into_owned(),
            Self::Model => ModelError::name().into_owned(),
        }
    }

    /// The name of a shared response.
    fn response(self, refusal: &Refusal) -> String {
        match self {
            Self::Console => refusal.name.to_owned(),
            Self::Model => format!("Model{}", refusal.name),
        }
    }
}

/// Adds to an operation what it may answer besides what its handler says, and to what its handler says without a body
/// the body of its family's errors.
pub(super) fn add(operation: &mut Operation, components: &mut Components, guard: Guard, path: &str) {
    let family = family(path);
    let mut possible: Vec<&Refusal> = match guard {
        Guard::Usual(Access::Public | Access::Brief) => Vec::new(),
        Guard::Usual(Access::ApiKey) => vec![&UNKNOWN],
        Guard::Usual(Access::Console | Access::Redactable | Access::Either) | Guard::Special(_) => {
            vec![&UNKNOWN, &FORBIDDEN, &ATTEMPTS]
        }
        Guard::Usual(Access::ControlOnly) => vec![&CONTROL],
    };
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        possible.push(&MALFORMED);
    }
    if operation.request_body.is_some() {
        possible.extend([&MALFORMED, &SLOW, &LARGE, &NOT_JSON]);
    }
    if !matches!(guard, Guard::Usual(Access::Public | Access::Brief)) {
        possible.extend([&INTERNAL, &AWAY]);
    }
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && status.as_str() >= "400"
            && response.content.is_empty()
        {
            response.content.insert("application/json".to_owned(), content(family).into());
        }
    }
    for refusal in possible {
        responses.entry(refusal.status.to_owned()).or_insert_with(|| {
            let name = family.response(refusal);
            let shared = Ref::from_response_name(&name);
            components.responses.entry(name).or_insert_with(|| response(refusal, family).into());
            RefOr::Ref(shared)
        });
    }
}

/// Makes the shapes of errors known.
pub(super) fn declare(components: &mut Components) {
    let mut schemas = vec![
        (Family::Console.schema(), ConsoleError::schema()),
        (Family::Model.schema(), ModelError::schema()),
    ];
    ConsoleError::schemas(&mut schemas);
    ModelError::schemas(&mut schemas);
    components.schemas.extend(schemas);
}

fn response(refusal: &Refusal, family: Family) -> Response {
    let response =
        ResponseBuilder::new().description(refusal.when).content("application/json", content(family));
    if !refusal.retry_after {
        return response.build();
    }
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let header = HeaderBuilder::new()
        .schema(Some(Schema::Object(seconds.build())))
        .description(Some("Seconds until another attempt is worth while"));
    response.header("retry-after", header.build()).build()
}

fn content(family: Family) -> Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(family.schema()))).build()
}
