//! Admission: the choice of an account and its lease, and the lease's renewal.

use std::fmt::Write as _;
use std::time::Duration;

use super::signatures::SIGNATURES_MAX;
use crate::store::host::{Call, StoreError};
use crate::store::ident::{AccountId, CredentialVersion, Generation, InvalidReason, LeaseId, Source, Stamp};
use crate::store::keys::{ConversationKey, SigKey};
use crate::store::registry::{ADMIT, HEARTBEAT};
use crate::store::reply::{Fields, plain};
use crate::store::{Store, single};

/// Most leases of one heartbeat call; more are sent in further calls.
pub const HEARTBEAT_MAX: usize = 1024;
/// Most leases that one heartbeat call drops.
const LAPSED_MAX: u32 = 256;

/// One attempt asks for an account.
#[derive(Clone, Debug)]
pub struct Admit<'a> {
    /// Id of the attempt; asking again with it repeats the answer.
    pub lease: &'a LeaseId,
    /// How long the lease lives unless renewed.
    pub lease_ttl: Duration,
    /// The upstream model.
    pub model: &'a str,
    /// Accounts this request tried; they are used again only when no other is usable.
    pub tried: &'a [AccountId],
    /// Access tokens the caller holds, so that they are not sent again.
    pub known: &'a [(AccountId, Generation)],
    /// Waits beyond this let one caller at a time probe the account that is free soonest; `None` never.
    pub probe_after: Option<Duration>,
    /// The conversation, which may have an account that it should stay with.
    pub conversation: Option<&'a ConversationKey>,
}

/// The answer to [`Admit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// When it was decided (for a repeated answer: first decided).
    pub stamp: Stamp,
    /// What was decided.
    pub decision: Decision,
}

/// What admission decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// An account, leased.
    Granted(Box<Grant>),
    /// Every valid account is limited or cools down.
    Wait {
        /// Until the first is free.
        wait: Duration,
        /// What keeps that one.
        reason: WaitReason,
        /// Whether it is waited for because the conversation has it: others may be served sooner.
        own: bool,
    },
    /// The pool has no account.
    Empty,
    /// Every account is switched off.
    NoEnabled,
    /// Every enabled account needs its owner, for these reasons.
    AllInvalid(Vec<InvalidReason>),
    /// None is enabled but those whose records in the store cannot be read.
    Damaged,
}

/// What keeps an account from being used for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// A limit of the account: its quota, its rate, or one the upstream did not name.
    Limited,
    /// The model was overloaded.
    Capacity,
    /// The upstream failed again and again.
    Failure,
    /// The upstream forbade the model.
    Forbidden,
    /// The account does not know the model.
    Unsupported,
    /// Its token was refused, or it has none and the next cannot be fetched yet.
    Cooling,
    /// It serves as many requests as it may; when one of them ends is not known.
    Busy,
    /// Its limit ended a moment ago, and as many as may already try it.
    Recovering,
}

impl WaitReason {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "quota" | "rate" | "unknown" | "" => Self::Limited,
            "capacity" => Self::Capacity,
            "failure" => Self::Failure,
            "forbidden" => Self::Forbidden,
            "unsupported" => Self::Unsupported,
            "cooling" => Self::Cooling,
            "busy" => Self::Busy,
            "recovering" => Self::Recovering,
            _ => return None,
        })
    }
}

/// A leased account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The account.
    pub account: AccountId,
    /// Its credential's version; goes into every verdict about it.
    pub credential: CredentialVersion,
    /// The project to send, when one is known.
    pub project: Option<String>,
    /// The session id the upstream knows the account by.
    pub session: String,
    /// How the account was found.
    pub tier: Tier,
    /// A pause before the call; zero unless settings ask for one.
    pub throttle: Duration,
    /// Requests in flight on the account, this one included.
    pub in_flight: u32,
    /// Whether the request tried this account before.
    pub tried: bool,
    /// How many accounts the pool has, usable or not.
    pub accounts: u32,
    /// How its token is obtained.
    pub source: Source,
    /// Its access token.
    pub token: TokenState,
}

/// How good a choice was (spec `dispatch.md` §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Healthy, with tokens and quota.
    Normal,
    /// Healthy, with tokens; its quota is critical.
    Quota,
    /// With tokens; unhealthy.
    Emergency,
    /// Merely usable.
    LastResort,
    /// Limited: probes whether the limit still holds.
    Probe,
}

impl Tier {
    /// `normal`, `quota`, `emergency`, `lastResort` or `probe`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Quota => "quota",
            Self::Emergency => "emergency",
            Self::LastResort => "lastResort",
            Self::Probe => "probe",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Normal, Self::Quota, Self::Emergency, Self::LastResort, Self::Probe]
            .into_iter()
            .find(|tier| tier.as_str() == name)
    }
}

/// Where a granted account's access token is.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenState {
    /// There is no fresh one: begin a refresh.
    Missing,
    /// The one the caller said it holds is current.
    Held {
        /// Which one.
        generation: Generation,
        /// For how long it may be used.
        ttl: Duration,
    },
    /// Here, sealed.
    Sent {
        /// Which one.
        generation: Generation,
        /// For how long it may be used.
        ttl: Duration,
        /// To be opened with the account's id.
        sealed: String,
    },
}

impl std::fmt::Debug for TokenState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("Missing"),
            Self::Held { generation, .. } => write!(f, "Held({generation})"),
            Self::Sent { generation, .. } => write!(f, "Sent({generation})"),
        }
    }
}

/// What became of a lease that was to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It was never admitted here, was settled, or its account is gone.
    Unknown,
    /// It lives on.
    Renewed,
    /// It had lapsed and lives again.
    Revived,
}

/// What a heartbeat found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// One per lease, in order.
    pub renewals: Vec<Renewal>,
    /// Leases of holders that are gone, dropped now.
    pub lapsed: u32,
}

impl Store {
    /// Chooses an account for one attempt and leases it.
    pub async fn admit(&self, admit: &Admit<'_>) -> Result<Admission, StoreError> {
        admission(self.run(self.admit_call(admit, false)?).await?)
    }

    /// [`Store::admit`] and [`Store::get_signatures`] in one round trip: values in the order of `keys`.
    pub async fn admit_with_signatures(
        &self,
        admit: &Admit<'_>,
        keys: &[SigKey],
        signature_ttl: Duration,
    ) -> Result<(Admission, Vec<Option<String>>), StoreError> {
        let mut batch = vec![self.admit_call(admit, false)?];
        batch.extend(keys.chunks(SIGNATURES_MAX).map(|keys| self.get_signatures_call(keys, signature_ttl)));
        let scripts: Vec<_> = batch.iter().map(|call| call.script).collect();
        let mut replies = self.host.eval(batch).await?.into_iter();
        let mut scripts = scripts.into_iter();
        let admission = admission(single(scripts.next().unwrap_or(&ADMIT), replies.next())?)?;
        let mut values = Vec::with_capacity(keys.len());
        for script in scripts {
            values.extend(super::signatures::values(single(script, replies.next())?)?);
        }
        Ok((admission, values))
    }

    /// Renews leases, and drops those whose holder is gone: also with no lease to renew.
    pub async fn heartbeat(&self, leases: &[LeaseId], ttl: Duration) -> Result<Heartbeat, StoreError> {
        let mut heartbeat = Heartbeat { renewals: Vec::with_capacity(leases.len()), lapsed: 0 };
        let mut chunks = leases.chunks(HEARTBEAT_MAX);
        loop {
            let chunk = chunks.next();
            let lapsed = self.beat(chunk.unwrap_or_default(), ttl, &mut heartbeat.renewals).await?;
            heartbeat.lapsed += lapsed;
            if chunks.len() == 0 && lapsed < LAPSED_MAX {
                return Ok(heartbeat);
            }
        }
    }

    /// One call; answers how many leases it dropped.
    async fn beat(
        &self,
        leases: &[LeaseId],
        ttl: Duration,
        renewals: &mut Vec<Renewal>,
    ) -> Result<u32, StoreError> {
        let mut call = Call::new(&HEARTBEAT)
            .key(self.keys.named("meta"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("leases"))
            .key(self.keys.named("convs"));
        call = leases.iter().fold(call, |call, lease| call.key(self.keys.req(lease)));
        call = call.arg(millis(ttl));
        call = leases.iter().fold(call, |call, lease| call.arg(lease.as_str()));
        let mut fields = self.run(self.timed(call)).await?;
        fields.head()?;
        let lapsed = fields.number("leases dropped")?;
        for _ in leases {
            renewals.push(match fields.number::<u8>("0, 1 or 2")? {
                1 => Renewal::Renewed,
                2 => Renewal::Revived,
                _ => Renewal::Unknown,
            });
        }
        fields.end()?;
        Ok(lapsed)
    }

    pub(super) fn admit_call(&self, admit: &Admit<'_>, explain: bool) -> Result<Call, StoreError> {
        let model = plain(&ADMIT, "model", admit.model)?;
        let tried = admit.tried.iter().map(AccountId::as_str).collect::<Vec<_>>().join(" ");
        let mut known = String::new();
        for (id, generation) in admit.known {
            let space = if known.is_empty() { "" } else { " " };
            // Writing to memory does not fail.
            let _ = write!(known, "{space}{id}={generation}");
        }
        let (none, conversation) = (ConversationKey::default(), admit.conversation);
        let conversation = conversation.unwrap_or(&none);
        let call = Call::new(&ADMIT)
            .key(self.keys.named("meta"))
            .key(self.keys.named("cfg"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("acct"))
            .key(self.keys.named("tok"))
            .key(self.keys.named("leases"))
            .key(self.keys.req(admit.lease))
            .key(self.keys.model(model))
            .key(self.keys.probe(model))
            .key(self.keys.named("th"))
            .key(self.keys.named("roster"))
            .key(self.keys.named("convs"))
            .key(self.keys.conversation(conversation))
            .arg(admit.lease.as_str())
            .arg(millis(admit.lease_ttl));
        Ok(self.timed(
            self.configured(call)
                .arg(model)
                .arg(tried)
                .arg(known)
                .arg(admit.probe_after.map_or_else(|| "-1".to_owned(), |wait| millis(wait).to_string()))
                .arg(conversation.as_str())
                .arg(explain),
        ))
    }
}

/// Whole milliseconds, at most what a script's arithmetic keeps exact.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 45)
}

fn admission(mut fields: Fields) -> Result<Admission, StoreError> {
    let (code, stamp) = fields.head()?;
    let decision = match code.as_str() {
        "OK" | "PROBE" => Decision::Granted(Box::new(grant(&mut fields)?)),
        "WAIT" => Decision::Wait {
            wait: fields.millis("ms to wait")?,
            reason: fields.parsed("a reason", WaitReason::from_name)?,
            own: fields.flag("whether the conversation has it")?,
        },
        "EMPTY" => Decision::Empty,
        "NO_ENABLED" => Decision::NoEnabled,
        "DAMAGED" => Decision::Damaged,
        "ALL_INVALID" => Decision::AllInvalid(fields.parsed("reasons", |text| {
            text.split(' ').map(InvalidReason::from_name).collect::<Option<Vec<_>>>()
        })?),
        other => return Err(fields.unknown(other)),
    };
    fields.end()?;
    Ok(Admission { stamp, decision })
}

fn grant(fields: &mut Fields) -> Result<Grant, StoreError> {
    let mut grant = Grant {
        account: fields.account()?,
        credential: CredentialVersion(fields.number("a credential version")?),
        project: fields.optional("a project")?,
        session: fields.text("a session id")?,
        tier: fields.parsed("a tier", Tier::from_name)?,
        throttle: fields.millis("ms of throttle")?,
        in_flight: fields.number("requests in flight")?,
        tried: fields.flag("whether it was tried")?,
        accounts: fields.number("accounts in the pool")?,
        source: fields.parsed("a source", Source::from_name)?,
        token: TokenState::Missing,
    };
    let generation = Generation(fields.number("a token generation")?);
    let ttl = fields.millis("ms of a token's life")?;
    let sealed = fields.optional("a sealed token")?;
    grant.token = match (generation, sealed) {
        (Generation(0), _) => TokenState::Missing,
        (generation, Some(sealed)) => TokenState::Sent { generation, ttl, sealed },
        (generation, None) => TokenState::Held { generation, ttl },
    };
    Ok(grant)
}
