//! Makes the OpenAPI document of the routes themselves.
//!
//! A handler's `#[utoipa::path(…)]` names its path, parameters, bodies and what it alone answers. What belongs to many
//! routes is added here: credentials and their refusals by the table of `access`, what can be wrong with a body or a
//! parameter, and the shape of every error. So neither can be forgotten at a route, nor differ from what it does.

mod refusals;

use std::sync::LazyLock;

use http::Method;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{
    Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Schema,
    ServerBuilder,
};

use crate::server::access::Access;
use crate::server::door::Special;
use crate::server::{COOKIE_NAME, SETUP_HEADER, routes};

const DESCRIPTION: &str = "\
The operator's API of the gateway: what the console and the command line use. The same on every replica; what one \
changes, all know.\n\n\
Answers are JSON: `{\"status\":\"ok\",…}`, or `{\"status\":\"error\",\"error\":\"…\"}` with a sentence for people; \
programs go by the HTTP status. Every answer carries the header `request-id`, under which the server's log knows the \
request. `HEAD` is answered where `GET` is. Times are milliseconds since the Unix epoch unless a field says otherwise.\n\n\
`x-access` says who may call an operation: `public` anybody; `apiKey` clients of the model API; `console` operators; \
`redactable` operators, and strangers see a shorter answer where no password is set; `brief` the same, also where one is \
set; `consoleOrKey` operators, and clients with a key; `login` who shows the password in the body; `password` operators, \
and where no password is set the gateway's own \
machine or whoever shows the setup token; `control` only the service's own \
user, over the socket in the data directory.";

/// Groups of operations, in the order in which they are shown.
const TAGS: [(&str, &str); 12] = [
    ("accounts", "The pool's accounts."),
    ("auth", "Signing accounts in with Google."),
    ("keys", "The keys with which clients call the model API."),
    ("settings", "Settings that all replicas share."),
    ("claude", "The settings of Claude Code that point it at a gateway."),
    ("console", "Logging in, the console's password, and who did what."),
    ("strategy", "How requests get their accounts."),
    ("usage", "What was asked of the pool and what it took."),
    ("status", "How the gateway fares."),
    ("operations", "Over the control socket only."),
    ("models", "The model API, which is Anthropic's; only what is this gateway's own is described here."),
    ("clients", "What browsers and clients call by themselves."),
];

/// Names of security schemes, as [`requirements`] uses them.
const PASSWORD: &str = "consolePassword";
const PASSWORD_BEARER: &str = "consolePasswordBearer";
const SESSION: &str = "consoleSession";
const SESSION_BEARER: &str = "consoleSessionBearer";
const SETUP_TOKEN: &str = "setupToken";
const TICKET: &str = "ticket";
const API_KEY: &str = "apiKey";
const API_KEY_BEARER: &str = "apiKeyBearer";

/// What the document says before any route.
pub(in crate::server) fn head() -> OpenApi {
    let header = |name: &str, text: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, text)))
    };
    let bearer = |text: &str| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text));
        SecurityScheme::Http(scheme.build())
    };
    let components = ComponentsBuilder::new()
        .security_scheme(
            PASSWORD,
            header(
                "x-webui-password",
                "The console's password. Where none is set, callers from this machine need none.",
            ),
        )
        .security_scheme(PASSWORD_BEARER, bearer("The console's password."))
        .security_scheme(
            SESSION,
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                COOKIE_NAME,
                "A session's token, as browsers keep it. What changes something needs the browser's `origin` or \
                 `sec-fetch-site` beside it, and a JSON body or the header `x-requested-with`.",
            ))),
        )
        .security_scheme(SESSION_BEARER, bearer("A session's token, as programs send it."))
        .security_scheme(
            SETUP_TOKEN,
            header(SETUP_HEADER, "The token that the gateway prints when it starts and no password is set."),
        )
        .security_scheme(
            TICKET,
            SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description(
                "ticket",
                "A ticket of `POST /api/logs/ticket`, good once: for browsers, whose event streams can send no headers.",
            ))),
        )
        .security_scheme(
            API_KEY,
            header(
                "x-api-key",
                "A client key. Where there is none at all, everybody may call the model API.",
            ),
        )
        .security_scheme(API_KEY_BEARER, bearer("A client key."));
    let info = InfoBuilder::new()
        .title("antigravity-proxy")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()));
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([ServerBuilder::new().url("/").description(Some("This gateway")).build()]))
        .tags(Some(TAGS.map(tag)))
        .components(Some(components.build()))
        .build()
}

fn tag((name, description): (&str, &str)) -> Tag {
    TagBuilder::new().name(name).description(Some(description)).build()
}

/// The whole document.
#[must_use]
pub fn document() -> OpenApi {
    completed(routes().into_openapi())
}

/// [`document`] as it is committed and served.
#[must_use]
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
        text.push('\n');
        text
    });
    &TEXT
}

/// Adds what belongs to many routes.
fn completed(mut api: OpenApi) -> OpenApi {
    let components = api.components.get_or_insert_default();
    refusals::declare(components);
    refer(components);
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in operations(item) {
            let guard = Guard::of(&method, path);
            operation.security = Some(guard.requirements());
            let extension = ExtensionsBuilder::new().add("x-access", guard.as_str()).build();
            operation.extensions.get_or_insert_default().merge(extension);
            refusals::add(operation, components, guard, path);
        }
    }
    api
}

/// Lets each `Answer_X` refer to `X`, of which it has a copy otherwise.
fn refer(components: &mut Components) {
    let known = components.schemas.clone();
    for (name, schema) in &mut components.schemas {
        let Some((rest, copied)) = name.strip_prefix("Answer_").and_then(|rest| known.get_key_value(rest))
        else {
            continue;
        };
        if let RefOr::T(Schema::AllOf(answer)) = schema
            && let Some(copy) = answer.items.iter_mut().find(|item| *item == copied)
        {
            *copy = Ref::from_schema_name(rest).into();
        }
    }
}

/// The operations of a path.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [
        (Method::GET, get),
        (Method::PUT, put),
        (Method::POST, post),
        (Method::DELETE, delete),
        (Method::PATCH, patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// What an operation asks of its caller, by the tables of `access` and `door`.
#[derive(Clone, Copy, Debug)]
enum Guard {
    Usual(Access),
    Special(Special),
}

impl Guard {
    fn of(method: &Method, path: &str) -> Self {
        if let Some(special) = Special::of(method, Some(path)) {
            return Self::Special(special);
        }
        Self::Usual(match Access::of(Some(path), path) {
            // Strangers are told something when they read.
            Access::Brief if *method != Method::GET => Access::Console,
            access => access,
        })
    }

    /// As the document names it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Usual(access) => access.as_str(),
            Self::Special(Special::Login) => "login",
            Self::Special(Special::Password) => "password",
            Self::Special(Special::Stream | Special::Events | Special::Export) => "console",
        }
    }

    /// What the caller must show; any one of them does.
    fn requirements(self) -> Vec<SecurityRequirement> {
        let any = |names: &[&str]| -> Vec<_> {
            names.iter().map(|name| SecurityRequirement::new(*name, [""; 0])).collect()
        };
        let console = || any(&[PASSWORD, PASSWORD_BEARER, SESSION, SESSION_BEARER]);
        match self {
            // The socket's file mode and the body are the credential, which the document has no word for.
            Self::Usual(Access::Public | Access::ControlOnly) | Self::Special(Special::Login) => Vec::new(),
            Self::Usual(Access::ApiKey) => any(&[API_KEY, API_KEY_BEARER]),
            Self::Usual(Access::Console) => console(),
            Self::Special(Special::Stream | Special::Events) => [console(), any(&[TICKET])].concat(),
            Self::Usual(Access::Either) => [console(), any(&[API_KEY, API_KEY_BEARER])].concat(),
            Self::Special(Special::Export) => any(&[PASSWORD, PASSWORD_BEARER]),
            Self::Special(Special::Password) => [console(), any(&[SETUP_TOKEN])].concat(),
            Self::Usual(Access::Redactable | Access::Brief) => {
                [console(), vec![SecurityRequirement::default()]].concat()
            }
        }
    }
}

#[cfg(test)]
mod tests;
