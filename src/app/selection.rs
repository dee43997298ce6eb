//! Why the next request of a conversation would get the account it would get.

use std::collections::HashMap;

use crate::account::directory::Directory;
use crate::anthropic::request::session_key;
use crate::config::DispatchConfig;
use crate::server::gateway::{Candidate, ScoreParts, SelectionQuestion, SelectionView};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::AccountId;
use crate::store::keys::ConversationKey;
use crate::store::ops::explain::{self, Explain, Outcome, Verdict};

/// Asks the admission script for its reasons; nothing changes. `model` is the upstream's.
pub(super) async fn explain(
    store: &Store,
    directory: &Directory,
    dispatch: &DispatchConfig,
    model: String,
    question: &SelectionQuestion,
) -> Result<SelectionView, StoreError> {
    let session = question.session.as_deref().map(session_key);
    let conversation = session.map(|id| ConversationKey::new(&question.client_key, &id, &model));
    let ask =
        Explain { model: &model, conversation: conversation.as_ref(), probe_after: Some(dispatch.max_wait) };
    let told = store.explain(&ask).await?;
    let accounts = directory.list(&[]).await?;
    let damaged = accounts.damaged.into_iter().map(|one| (one.id.clone(), one.name().to_owned()));
    let readable = accounts.readable.into_iter().map(|account| (account.id, account.email));
    let emails: HashMap<_, _> = readable.chain(damaged).collect();
    let email = |id: &AccountId| emails.get(id).cloned().unwrap_or_else(|| id.to_string());
    let chosen = match &told.outcome {
        Outcome::Chosen { account, .. } => Some(account.clone()),
        _ => None,
    };
    let (tier, wait_ms, reason) = match &told.outcome {
        Outcome::Chosen { tier, .. } => (Some(tier.as_str()), None, None),
        Outcome::Wait { wait, why } => (None, Some(millis(*wait)), Some(why.clone())),
        Outcome::Empty | Outcome::NoEnabled | Outcome::AllInvalid | Outcome::Damaged => (None, None, None),
    };
    Ok(SelectionView {
        strategy: told.strategy,
        decision: match &told.outcome {
            Outcome::Chosen { .. } => "chosen",
            Outcome::Wait { .. } => "wait",
            Outcome::Empty => "noAccounts",
            Outcome::NoEnabled => "allDisabled",
            Outcome::AllInvalid => "allInvalid",
            Outcome::Damaged => "allDamaged",
        },
        account: chosen.as_ref().map(email),
        tier,
        wait_ms,
        reason,
        conversation_account: told.remembered.as_ref().map(email),
        total: told.total,
        candidates: told
            .candidates
            .iter()
            .map(|one| candidate(one, email(&one.account), chosen.as_ref() == Some(&one.account)))
            .collect(),
        model,
    })
}

fn candidate(one: &explain::Candidate, email: String, chosen: bool) -> Candidate {
    let (verdict, wait_ms) = match &one.verdict {
        Verdict::Usable => ("usable".to_owned(), None),
        Verdict::Disabled => ("disabled".to_owned(), None),
        Verdict::Damaged => ("damaged".to_owned(), None),
        Verdict::Invalid(reason) => (reason.as_str().to_owned(), None),
        Verdict::Waits { wait, why } => (why.clone(), Some(millis(*wait))),
    };
    let standing = one.standing.as_ref();
    Candidate {
        email,
        chosen,
        verdict,
        wait_ms,
        tier: standing.map(|s| s.tier.as_str()),
        score: standing.map(|s| s.score),
        parts: standing.and_then(|s| s.parts).map(|parts| ScoreParts {
            health: parts.health,
            tokens: parts.tokens,
            quota: parts.quota,
            rest: parts.rest,
            in_flight: parts.in_flight,
            affinity: parts.affinity,
        }),
        health: standing.and_then(|s| s.health),
        tokens: standing.and_then(|s| s.tokens),
        in_flight: standing.map(|s| s.in_flight),
        conversations: standing.map(|s| s.conversations),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
