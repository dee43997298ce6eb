//! Credentials: sealing at rest, access tokens by refresh, and the check of a client's API key.

pub mod key;
pub mod oauth;
pub mod tokens;
pub mod vault;

pub use key::{ApiKeys, ClientKey};
pub use tokens::{AccessToken, Source, TokenError, TokenRequest, TokenStore, Tokens};
pub use vault::{Sealed, Vault, VaultError};
