//! Credentials: sealing at rest, access tokens by refresh, and the check of a client's API key.

pub mod key;
pub mod oauth;
mod token_store;
pub mod tokens;
pub mod vault;

pub use key::{ApiKeys, ClientKey};
pub use tokens::{AccessToken, TokenError, TokenRequest, TokenStore, Tokens};
pub use vault::{Sealed, Vault, VaultError};
