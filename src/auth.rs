//! Credentials: sealing at rest, access tokens by refresh.

pub mod oauth;
pub mod tokens;
pub mod vault;

pub use tokens::{AccessToken, TokenError, TokenRequest, Tokens};
pub use vault::{Sealed, Vault, VaultError};
