//! Credentials: sealing at rest, sign-in, access tokens by refresh, the keys of clients.

pub mod client_keys;
pub mod console;
pub mod desktop;
mod key_file;
pub mod oauth;
mod protobuf;
pub mod rotation;
pub mod signin;
pub mod tokens;
pub mod vault;

pub use tokens::{AccessToken, TokenError, TokenRequest, Tokens};
pub use vault::{Sealed, Vault, VaultError};
