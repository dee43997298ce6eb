//! Sign-ins under way: begun on one replica, completed on any, by one caller.
//!
//! A sign-in waits ten minutes for its completion, and its result is kept as long, so that whoever began it learns what
//! came of it wherever he asks (spec `http-api.md` §6.3, §10.1). Whoever completes it holds it meanwhile; a holder that
//! dies lets it go after a while. That is safe: an authorization code is of use once only at Google, so two who complete
//! the same sign-in one after the other cannot both succeed with the same code.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::admit::millis;
use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::{OwnerId, Stamp};
use crate::store::registry::{BEGIN_SIGNIN, END_SIGNIN, GET_SIGNIN, TAKE_SIGNIN};
use crate::store::reply::{Fields, plain};

/// Names a sign-in: 16 random bytes as 32 hex digits (spec `http-api.md` §6.2). Who knows it may complete the sign-in,
/// so it is not shown in logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SignInState(Arc<str>);

impl SignInState {
    /// The state that these bytes make.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)).into())
    }

    /// Reads what came back from a browser; `None` for what no sign-in can be named.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 32 && text.bytes().all(fits)).then(|| Self(text.into()))
    }

    /// The state as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignInState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignInState")
    }
}

/// A sign-in to remember.
#[derive(Clone)]
pub struct NewSignIn<'a> {
    /// Its name.
    pub state: &'a SignInState,
    /// How long it waits.
    pub life: Duration,
    /// The sealed PKCE verifier.
    pub sealed: &'a str,
    /// Where Google sends the browser back to.
    pub redirect_uri: &'a str,
    /// The e-mail that it must be of; compared lower-cased.
    pub expected: Option<&'a str>,
}

/// What a caller who wants to complete a sign-in gets.
#[derive(Clone, PartialEq, Eq)]
pub enum TakenSignIn {
    /// The right to complete it.
    Granted {
        /// The sealed PKCE verifier.
        sealed: String,
        /// The address that the code was issued for.
        redirect_uri: String,
        /// The e-mail that it must be of, lower-cased.
        expected: Option<String>,
    },
    /// Another completes it, for at most so long.
    Busy(Duration),
    /// It was completed, or has failed.
    Used,
    /// There is none of that name, or it has expired.
    Unknown,
}

impl fmt::Debug for TakenSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { .. } => f.write_str("Granted"),
            Self::Busy(wait) => write!(f, "Busy({wait:?})"),
            Self::Used => f.write_str("Used"),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

/// How the account of a completed sign-in was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedIn {
    /// As a new one.
    Added,
    /// With a new credential.
    Renewed,
}

/// Why a sign-in ended without an account; final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInFailure {
    /// Google sent the browser back with this error code.
    Refused(String),
    /// Google did not accept the code that the browser brought.
    Code,
    /// Google did not accept the operator's OAuth client.
    Client,
    /// It was of this e-mail and not of the expected one.
    OtherAccount(String),
    /// Google gave no refresh token, and none is known.
    NoRefreshToken,
    /// Google did not say whose it is.
    NoEmail,
    /// The pool has as many accounts as it may: so many.
    Full(u32),
    /// One that this version does not know.
    Other,
}

impl SignInFailure {
    /// What it is called in the store and in logs; without what it is about.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Code => "code",
            Self::Client => "client",
            Self::OtherAccount(_) => "otherAccount",
            Self::NoRefreshToken => "noRefreshToken",
            Self::NoEmail => "noEmail",
            Self::Full(_) => "full",
            Self::Other => "other",
        }
    }

    fn whom(&self) -> String {
        match self {
            Self::Refused(code) => code.clone(),
            Self::OtherAccount(email) => email.clone(),
            Self::Full(most) => most.to_string(),
            Self::Code | Self::Client | Self::NoRefreshToken | Self::NoEmail | Self::Other => String::new(),
        }
    }

    fn read(name: &str, whom: String) -> Self {
        match name {
            "refused" => Self::Refused(whom),
            "code" => Self::Code,
            "client" => Self::Client,
            "otherAccount" => Self::OtherAccount(whom),
            "noRefreshToken" => Self::NoRefreshToken,
            "noEmail" => Self::NoEmail,
            "full" => whom.parse().map_or(Self::Other, Self::Full),
            _ => Self::Other,
        }
    }
}

/// What came of completing a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInEnd {
    /// Nothing: it waits on.
    Pending,
    /// The account of this e-mail was stored.
    Completed {
        /// Whose it is.
        email: String,
        /// How it was stored.
        how: SignedIn,
    },
    /// Nothing was stored.
    Failed(SignInFailure),
}

/// How a sign-in stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInStatus {
    /// It waits to be completed, for so long.
    Pending(Duration),
    /// Somebody completes it at this moment.
    Taken,
    /// The account of this e-mail was stored.
    Completed {
        /// Whose it is.
        email: String,
        /// How it was stored.
        how: SignedIn,
    },
    /// It has ended without an account.
    Failed(SignInFailure),
    /// There is none of that name, or it has expired.
    Unknown,
}

impl Store {
    /// Remembers a sign-in; of many that wait, the oldest gives way. Answers how many did.
    pub async fn begin_signin(&self, signin: &NewSignIn<'_>) -> Result<(u32, Stamp), StoreError> {
        let expected = signin.expected.map(str::to_lowercase).unwrap_or_default();
        let call = self
            .signin_call(&BEGIN_SIGNIN, signin.state)
            .arg(millis(signin.life).max(1))
            .arg(plain(&BEGIN_SIGNIN, "verifier", signin.sealed)?)
            .arg(plain(&BEGIN_SIGNIN, "redirect", signin.redirect_uri)?)
            .arg(plain(&BEGIN_SIGNIN, "expected", &expected)?);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let gave_way = match code.as_str() {
            "OK" => fields.number("sign-ins that gave way")?,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok((gave_way, stamp))
    }

    /// Asks to complete a sign-in within `hold`; its holder renews that by asking again.
    pub async fn take_signin(
        &self,
        state: &SignInState,
        owner: &OwnerId,
        hold: Duration,
    ) -> Result<TakenSignIn, StoreError> {
        let call = self.signin_call(&TAKE_SIGNIN, state).arg(owner.as_str()).arg(millis(hold).max(1));
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let taken = match code.as_str() {
            "OK" => TakenSignIn::Granted {
                sealed: fields.text("a sealed verifier")?,
                redirect_uri: fields.text("a redirect address")?,
                expected: fields.optional("an e-mail")?,
            },
            "BUSY" => TakenSignIn::Busy(fields.millis("ms left")?),
            "USED" => TakenSignIn::Used,
            "NONE" => TakenSignIn::Unknown,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(taken)
    }

    /// Records what came of it, for `keep`; `false` when it was no longer the caller's.
    pub async fn end_signin(
        &self,
        state: &SignInState,
        owner: &OwnerId,
        end: &SignInEnd,
        keep: Duration,
    ) -> Result<bool, StoreError> {
        let (phase, outcome, whom) = match end {
            SignInEnd::Pending => ("pending", "", String::new()),
            SignInEnd::Completed { email, how: SignedIn::Added } => ("completed", "added", email.clone()),
            SignInEnd::Completed { email, how: SignedIn::Renewed } => ("completed", "renewed", email.clone()),
            SignInEnd::Failed(failure) => ("failed", failure.name(), failure.whom()),
        };
        let call = self
            .signin_call(&END_SIGNIN, state)
            .arg(owner.as_str())
            .arg(phase)
            .arg(outcome)
            .arg(plain(&END_SIGNIN, "whom", &whom)?)
            .arg(millis(keep).max(1));
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let recorded = match code.as_str() {
            "OK" => true,
            "LOST" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(recorded)
    }

    /// How a sign-in stands.
    pub async fn get_signin(&self, state: &SignInState) -> Result<SignInStatus, StoreError> {
        let mut fields = self.run(self.timed(self.signin_call(&GET_SIGNIN, state))).await?;
        let (code, _) = fields.head()?;
        let status = match code.as_str() {
            "PENDING" => SignInStatus::Pending(fields.millis("ms left")?),
            "TAKEN" => {
                fields.millis("ms left")?;
                SignInStatus::Taken
            }
            "COMPLETED" => {
                let how = fields.parsed("how it was stored", |name| match name {
                    "added" => Some(SignedIn::Added),
                    "renewed" => Some(SignedIn::Renewed),
                    _ => None,
                })?;
                SignInStatus::Completed { email: fields.text("an e-mail")?, how }
            }
            "FAILED" => SignInStatus::Failed(failure(&mut fields)?),
            "NONE" => SignInStatus::Unknown,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(status)
    }

    fn signin_call(&self, script: &'static crate::store::script::Script, state: &SignInState) -> Call {
        Call::new(script).key(self.keys.named("meta")).key(self.keys.named("signins")).arg(state.as_str())
    }
}

fn failure(fields: &mut Fields) -> Result<SignInFailure, StoreError> {
    let name = fields.text("why it failed")?;
    Ok(SignInFailure::read(&name, fields.text("whom it is about")?))
}

#[cfg(test)]
mod tests {
    use super::{SignInFailure, SignInState};

    #[test]
    fn states_are_hex_digits() {
        let state = SignInState::from_bytes([0x0a; 16]);
        assert_eq!(state.as_str(), "0a".repeat(16));
        assert_eq!(SignInState::parse(state.as_str()), Some(state.clone()));
        for text in ["", "0", &"0A".repeat(16), &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(SignInState::parse(text), None, "{text}");
        }
        assert!(!format!("{state:?}").contains("0a"));
    }

    #[test]
    fn failures_are_read_back() {
        for failure in [
            SignInFailure::Refused("access_denied".into()),
            SignInFailure::Code,
            SignInFailure::Client,
            SignInFailure::OtherAccount("b@example.com".into()),
            SignInFailure::NoRefreshToken,
            SignInFailure::NoEmail,
            SignInFailure::Full(3),
        ] {
            assert_eq!(SignInFailure::read(failure.name(), failure.whom()), failure);
        }
        assert_eq!(SignInFailure::read("of a later version", "x".into()), SignInFailure::Other);
    }
}
