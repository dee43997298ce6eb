//! What the HTTP surface knows of sign-ins (spec `http-api.md` §1.6.4, §1.6.5).

use serde::Serialize;
use utoipa::ToSchema;

/// A sign-in that waits for its owner.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInBegun {
    /// Where its owner's browser goes.
    pub url: String,
    /// Names it; 32 hex digits.
    pub state: String,
    /// When it ends, Unix epoch in milliseconds.
    pub expires_at: i64,
    /// Where Google sends the browser back to.
    pub redirect_uri: String,
    /// Whether this process listens there itself, for browsers on its own machine.
    pub callback_listening: bool,
}

/// An account that has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInCompleted {
    /// Its address.
    pub email: String,
    /// Whether it was known before.
    pub renewed: bool,
}

impl SignInCompleted {
    /// What happened, as one sentence.
    #[must_use]
    pub fn message(&self) -> String {
        let Self { email, renewed } = self;
        if *renewed {
            format!("Account {email} signed in again")
        } else {
            format!("Account {email} added successfully")
        }
    }
}

/// How a sign-in stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SignInView {
    /// Its phase.
    pub state: SignInPhase,
    /// Whose account it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Why it failed, for its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether the account was known before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reauth: Option<bool>,
}

/// The phases of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignInPhase {
    /// It waits, or is being completed.
    Pending,
    /// The account is stored.
    Completed,
    /// It has ended without an account.
    Failed,
    /// It is unknown, or too old.
    Expired,
}
