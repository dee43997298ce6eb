//! The requests in flight on all replicas of the pool, and ending one of them wherever it is.
//!
//! Each replica knows its own; nothing of that is in the store, so that a request costs nothing for being watched. Who wants
//! to know asks the others through the store (`store/ops/asks.rs`) and waits for their answers for a moment: one that does
//! not answer is named, not left out in silence.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::dispatch::in_flight::{Cancelled, InFlight, Request};
use crate::server::gateway::requests::{
    CancelOutcome, LiveClient, LiveReplica, LiveRequest, LiveRequests, LiveState,
};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{OwnerId, ReplicaId, RequestName};
use crate::store::ops::asks::{ANSWER_MAX, Answered, AskedReplica, Question};

/// How long answers of other replicas are waited for: many times what a pool in order takes.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long answers are taken: longer than anybody waits.
const LIFE: Duration = Duration::from_secs(10);
/// Pauses between looks for answers: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(100);
/// A list that is so young is good for the next one who asks.
const YOUNG: Duration = Duration::from_millis(500);
/// Requests that one replica tells of, the oldest first; of the others it says how many they are.
const TOLD: usize = 1000;

/// This replica and the others. Cheap to clone.
#[derive(Clone)]
pub(super) struct Requests {
    id: ReplicaId,
    host: String,
    store: Store,
    in_flight: InFlight,
    clock: Clock,
    /// Questions of this replica: its own part of the answer does not go through the store.
    asking: Arc<Mutex<HashSet<OwnerId>>>,
    /// The last list; who comes while one is being made waits for that.
    last: Arc<tokio::sync::Mutex<Option<(Instant, Gathered)>>>,
}

/// A request as one replica tells it to another. What a later version adds is left out, what it leaves out is not known.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    id: String,
    age_ms: u64,
    cancelled: bool,
    client: Option<(String, String)>,
    asked: Option<String>,
    served: Option<String>,
    stream: Option<bool>,
    session: Option<String>,
    account: Option<String>,
    attempts: u32,
    waits: bool,
    waited_ms: u64,
    first_event_ms: Option<u64>,
}

/// What one replica tells.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct List {
    requests: Vec<Told>,
    /// Those it does not tell of.
    omitted: u64,
}

/// What a replica answers to a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Done,
    Before,
    Ended,
    /// The request is none of its own.
    Unknown,
}

/// The lists of all replicas.
#[derive(Clone, Debug, Default)]
struct Gathered {
    lists: Vec<(ReplicaId, String, i64, List)>,
    silent: Vec<AskedReplica>,
}

impl From<Request> for Told {
    fn from(request: Request) -> Self {
        let Request { id, age, cancelled, seen } = request;
        Self {
            id: id.to_string(),
            age_ms: millis(age),
            cancelled,
            client: seen.client.map(|(id, name)| (id.to_string(), name.to_string())),
            asked: seen.asked,
            served: seen.served,
            stream: seen.stream,
            session: seen.session.map(|session| format!("{session:016x}")),
            account: seen.account,
            attempts: seen.attempts,
            waits: seen.waits,
            waited_ms: millis(seen.waited),
            first_event_ms: seen.first_event.map(millis),
        }
    }
}

impl From<Cancelled> for Verdict {
    fn from(cancelled: Cancelled) -> Self {
        match cancelled {
            Cancelled::Done => Self::Done,
            Cancelled::Before => Self::Before,
            Cancelled::Ended => Self::Ended,
            Cancelled::Unknown => Self::Unknown,
        }
    }
}

impl Requests {
    /// The requests of replica `id`, which runs on `host`.
    pub(super) fn new(id: ReplicaId, host: String, store: Store, in_flight: InFlight, clock: Clock) -> Self {
        Self { id, host, store, in_flight, clock, asking: Arc::default(), last: Arc::default() }
    }

    /// All requests in flight; accounts are named by their ids ([`name_accounts`]).
    pub(super) async fn list(&self) -> Result<LiveRequests, StoreError> {
        let gathered = {
            let mut last = self.last.lock().await;
            let young = |at: &Instant| self.clock.instant().saturating_duration_since(*at) < YOUNG;
            match &*last {
                Some((at, gathered)) if young(at) => gathered.clone(),
                _ => {
                    let gathered = self.gather().await?;
                    *last = Some((self.clock.instant(), gathered.clone()));
                    gathered
                }
            }
        };
        Ok(self.view(gathered))
    }

    async fn gather(&self) -> Result<Gathered, StoreError> {
        let (now_ms, asked, answers) = self.ask(&Question::LiveRequests, |_| false).await?;
        let own = self.own_list();
        let mut gathered =
            Gathered { lists: vec![(self.id.clone(), self.host.clone(), now_ms, own)], silent: Vec::new() };
        for replica in asked {
            let answer = answers.iter().find(|answer| answer.replica == replica.id);
            // An answer that cannot be read is as good as none.
            let read =
                answer.and_then(|answer| Some((answer.at_ms, serde_json::from_str(&answer.text).ok()?)));
            match read {
                Some((at_ms, list)) => gathered.lists.push((replica.id, replica.host, at_ms, list)),
                None => gathered.silent.push(replica),
            }
        }
        Ok(gathered)
    }

    fn own_list(&self) -> List {
        let mut requests = self.in_flight.list(self.clock.instant());
        let omitted = requests.len().saturating_sub(TOLD);
        requests.truncate(TOLD);
        List { requests: requests.into_iter().map(Told::from).collect(), omitted: omitted as u64 }
    }

    fn view(&self, gathered: Gathered) -> LiveRequests {
        let mut live = LiveRequests { complete: gathered.silent.is_empty(), ..LiveRequests::default() };
        for (id, host, at_ms, list) in gathered.lists {
            live.omitted += list.omitted;
            live.replicas.push(LiveReplica {
                id: id.as_str().to_owned(),
                host,
                is_self: id == self.id,
                as_of: Some(at_ms),
                requests: list.requests.len() as u64 + list.omitted,
            });
            live.requests.extend(list.requests.into_iter().map(|told| told.view(&id, at_ms)));
        }
        live.replicas.extend(gathered.silent.into_iter().map(|silent| LiveReplica {
            id: silent.id.as_str().to_owned(),
            host: silent.host,
            is_self: false,
            as_of: None,
            requests: 0,
        }));
        live.replicas.sort_by(|a, b| a.id.cmp(&b.id));
        live.requests.sort_by(|a, b| a.started_at.cmp(&b.started_at).then_with(|| a.id.cmp(&b.id)));
        live
    }

    /// Ends the request of that name, wherever it is.
    pub(super) async fn cancel(&self, name: &RequestName) -> Result<CancelOutcome, StoreError> {
        let outcome = self.end(name).await;
        // Who cancels looks again.
        *self.last.lock().await = None;
        outcome
    }

    async fn end(&self, name: &RequestName) -> Result<CancelOutcome, StoreError> {
        if let Some(outcome) = outcome(self.in_flight.cancel(name.as_str()).into(), &self.id) {
            return Ok(outcome);
        }
        let verdict = |answer: &Answered| serde_json::from_str::<Verdict>(&answer.text).ok();
        let decides = |answer: &Answered| verdict(answer).is_some_and(|one| one != Verdict::Unknown);
        let (_, asked, answers) = self.ask(&Question::Cancel(name.clone()), decides).await?;
        if let Some(outcome) = answers.iter().find_map(|answer| outcome(verdict(answer)?, &answer.replica)) {
            return Ok(outcome);
        }
        let answered = |replica: &AskedReplica| {
            answers.iter().any(|answer| answer.replica == replica.id && verdict(answer).is_some())
        };
        let silent: Vec<_> = asked
            .into_iter()
            .filter(|replica| !answered(replica))
            .map(|replica| format!("{} ({})", replica.host, replica.id))
            .collect();
        Ok(if silent.is_empty() { CancelOutcome::Unknown } else { CancelOutcome::Unanswered(silent) })
    }

    /// Asks the other replicas and waits for all of them, or for an answer that `decides`.
    async fn ask(
        &self,
        question: &Question,
        decides: impl Fn(&Answered) -> bool,
    ) -> Result<(i64, Vec<AskedReplica>, Vec<Answered>), StoreError> {
        let Some(asking) = Asking::begin(self) else {
            return Err(StoreError::Unavailable { reason: "the system's random source failed".into() });
        };
        let (stamp, asked) = self.store.ask_replicas(&self.id, &asking.id, question, LIFE).await?;
        let (mut now_ms, mut answers) = (stamp.now_ms, Vec::<Answered>::new());
        let give_up = self.clock.instant() + PATIENCE;
        let mut pause = FIRST_LOOK;
        while !asked.is_empty() {
            tokio::time::sleep(pause).await;
            let (stamp, found) = self.store.get_answers(&asking.id, &answers).await?;
            now_ms = stamp.now_ms;
            answers.extend(found);
            let all = asked.iter().all(|one| answers.iter().any(|answer| answer.replica == one.id));
            if all || answers.iter().any(&decides) || self.clock.instant() >= give_up {
                break;
            }
            pause = (pause * 2).min(LONGEST_LOOK);
        }
        // Answers are long, and would lie in the store as long as they could be asked for.
        if !asked.is_empty()
            && let Err(error) = self.store.end_question(&asking.id).await
        {
            tracing::debug!(%error, "answers of other replicas lapse by themselves");
        }
        Ok((now_ms, asked, answers))
    }

    /// Answers another replica's question.
    pub(super) async fn answer(&self, id: &OwnerId, question: &Question) {
        if self.asking().contains(id) {
            return;
        }
        let text = match question {
            Question::LiveRequests => self.told(),
            Question::Cancel(name) => {
                let verdict = Verdict::from(self.in_flight.cancel(name.as_str()));
                if verdict == Verdict::Done {
                    tracing::info!(request_id = name.as_str(), "a request was cancelled by an operator");
                }
                serde_json::to_string(&verdict).unwrap_or_default()
            }
        };
        if let Err(error) = self.store.put_answer(&self.id, id, &text).await {
            tracing::debug!(%error, "another replica's question could not be answered");
        }
    }

    /// This replica's list as text, with as many requests as fit.
    fn told(&self) -> String {
        let mut list = self.own_list();
        loop {
            // Texts and numbers always have a form in JSON.
            let text = serde_json::to_string(&list).unwrap_or_default();
            if text.len() <= ANSWER_MAX || list.requests.is_empty() {
                return text;
            }
            let kept = list.requests.len() / 2;
            list.omitted += (list.requests.len() - kept) as u64;
            list.requests.truncate(kept);
        }
    }

    fn asking(&self) -> MutexGuard<'_, HashSet<OwnerId>> {
        // Each change is a single step.
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question under way.
struct Asking<'a> {
    requests: &'a Requests,
    id: OwnerId,
}

impl<'a> Asking<'a> {
    fn begin(requests: &'a Requests) -> Option<Self> {
        let id = OwnerId::random()?;
        requests.asking().insert(id.clone());
        Some(Self { requests, id })
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.requests.asking().remove(&self.id);
    }
}

impl Told {
    fn view(self, replica: &ReplicaId, at_ms: i64) -> LiveRequest {
        let state = match (self.cancelled, self.first_event_ms) {
            (true, _) => LiveState::Cancelled,
            (_, Some(_)) => LiveState::Answering,
            // Before its first try it has no account, also where no wait is counted.
            _ if self.waits || self.attempts == 0 => LiveState::Waiting,
            _ => LiveState::Trying,
        };
        LiveRequest {
            id: self.id,
            replica: replica.as_str().to_owned(),
            started_at: at_ms.saturating_sub(i64::try_from(self.age_ms).unwrap_or(i64::MAX)),
            age_ms: self.age_ms,
            state,
            stream: self.stream,
            requested_model: self.asked,
            model: self.served,
            account: self.account,
            attempts: self.attempts,
            waited_ms: self.waited_ms,
            first_event_ms: self.first_event_ms,
            client: self.client.map(|(id, name)| LiveClient { id, name }),
            session: self.session,
        }
    }
}

/// What a verdict of `replica` means; `None` when the request is none of its own.
fn outcome(verdict: Verdict, replica: &ReplicaId) -> Option<CancelOutcome> {
    match verdict {
        Verdict::Done => Some(CancelOutcome::Done { replica: replica.as_str().to_owned() }),
        Verdict::Before => Some(CancelOutcome::Before),
        Verdict::Ended => Some(CancelOutcome::Ended),
        Verdict::Unknown => None,
    }
}

/// Puts the addresses of accounts in the place of their ids.
pub(super) fn name_accounts(live: &mut LiveRequests, emails: &HashMap<String, String>) {
    for request in &mut live.requests {
        if let Some(email) = request.account.as_ref().and_then(|id| emails.get(id)) {
            request.account = Some(email.clone());
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::SelectionConfig;
    use crate::store::embedded::EmbeddedHost;
    use crate::store::keys::Keys;
    use crate::store::registry;

    fn requests() -> Requests {
        let clock = Clock::system();
        let host = Arc::new(EmbeddedHost::in_memory(clock.clone(), registry::ALL).unwrap());
        let store = Store::new(host, Keys::new("test").unwrap(), &SelectionConfig::default());
        Requests::new(ReplicaId::new("me").unwrap(), "here".into(), store, InFlight::default(), clock)
    }

    #[test]
    fn what_a_replica_tells_is_read_by_others_and_by_other_versions() {
        let told = Told {
            id: "req_1".into(),
            age_ms: 1500,
            client: Some(("k".into(), "Ada".into())),
            account: Some("a".into()),
            attempts: 1,
            ..Told::default()
        };
        let list = List { requests: vec![told], omitted: 3 };
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<List>(&text).unwrap(), list);
        let other: List =
            serde_json::from_str(r#"{"requests":[{"id":"req_2","ageMs":7,"colour":"red"}],"mood":1}"#)
                .unwrap();
        assert_eq!((other.requests[0].id.as_str(), other.requests[0].age_ms), ("req_2", 7));
        assert_eq!(serde_json::to_string(&Verdict::Ended).unwrap(), "\"ended\"");
    }

    #[test]
    fn the_state_follows_from_what_is_known() {
        let told = |cancelled, first_event_ms, attempts, waits| Told {
            age_ms: 1500,
            cancelled,
            first_event_ms,
            attempts,
            waits,
            ..Told::default()
        };
        for (told, state) in [
            (told(false, None, 0, false), LiveState::Waiting),
            (told(false, None, 0, true), LiveState::Waiting),
            (told(false, None, 2, false), LiveState::Trying),
            (told(false, None, 2, true), LiveState::Waiting),
            (told(false, Some(9), 1, false), LiveState::Answering),
            (told(true, Some(9), 1, false), LiveState::Cancelled),
            (told(true, None, 1, true), LiveState::Cancelled),
        ] {
            let view = told.view(&ReplicaId::new("r").unwrap(), 10_000);
            assert_eq!((view.state, view.started_at), (state, 8500));
        }
    }

    #[test]
    fn lists_are_one_and_who_is_silent_is_named() {
        let id = |text: &str| ReplicaId::new(text).unwrap();
        let told = |id: &str, age_ms| Told { id: id.into(), age_ms, ..Told::default() };
        let gathered = Gathered {
            lists: vec![
                (id("me"), "here".into(), 1000, List { requests: vec![told("b", 100)], omitted: 0 }),
                (id("b"), "there".into(), 1010, List { requests: vec![told("a", 500)], omitted: 4 }),
            ],
            silent: vec![AskedReplica { id: id("a"), host: "gone".into() }],
        };
        let live = requests().view(gathered);
        let ids: Vec<_> = live.requests.iter().map(|one| (one.id.as_str(), one.started_at)).collect();
        assert_eq!(ids, [("a", 510), ("b", 900)], "the oldest first");
        assert_eq!((live.complete, live.omitted), (false, 4));
        let replicas: BTreeMap<_, _> = live
            .replicas
            .iter()
            .map(|one| (one.id.as_str(), (one.requests, one.as_of, one.is_self)))
            .collect();
        assert_eq!(replicas["a"], (0, None, false));
        assert_eq!(replicas["b"], (5, Some(1010), false));
        assert_eq!(replicas["me"], (1, Some(1000), true));
    }

    #[tokio::test]
    async fn one_that_is_alone_answers_at_once() {
        let requests = requests();
        let live = requests.list().await.unwrap();
        assert!(live.complete && live.requests.is_empty() && live.replicas.len() == 1, "{live:?}");
        let name = RequestName::new("req_1").unwrap();
        assert_eq!(requests.cancel(&name).await.unwrap(), CancelOutcome::Unknown);
        assert!(requests.asking().is_empty());
    }
}
