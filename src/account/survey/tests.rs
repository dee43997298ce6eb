use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokio_util::task::TaskTracker;

use super::visit::LOCK;
use super::*;
use crate::account::catalogue::Model;
use crate::auth::oauth::OAuth;
use crate::auth::tokens::credential_aad;
use crate::auth::vault::Vault;
use crate::cloudcode::client::scripted::Posted;
use crate::cloudcode::{TransportKind, http};
use crate::config::{OAuthConfig, UpstreamConfig};
use crate::store::ident::{CredentialVersion, LeaseId, Source};
use crate::store::ops::locks::Lock;
use crate::store::ops::settle::{LimitKind, Outcome, Settle};
use crate::store::unsteady::{Unsteady, add_account};
use crate::telemetry::metrics::Metrics;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const START_MS: i64 = 1_800_000_000_000;
const EVERY: Duration = Duration::from_mins(5);
const SECOND: Duration = Duration::from_secs(1);

/// One answer to the question for models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    /// These models, by number.
    Models(&'static [u8]),
    Fail,
    Silence,
}

/// When which account was asked for its models, by which replica.
type Asked = Arc<Mutex<Vec<(Duration, String, &'static str)>>>;

/// A pool and its upstream, which takes its time.
struct World {
    host: Arc<Unsteady>,
    clock: Clock,
    begun: Instant,
    vault: Arc<Vault>,
    asked: Asked,
    says: Arc<Mutex<HashMap<String, Say>>>,
    latency: Duration,
    every: watch::Sender<Duration>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl World {
    async fn new(accounts: usize, latency: Duration) -> Self {
        let clock = Clock::following(START_MS);
        let world = Self {
            host: Unsteady::new(clock.clone()),
            begun: clock.instant(),
            clock,
            vault: Arc::new(Vault::new(&[KEY.into()]).unwrap()),
            asked: Asked::default(),
            says: Arc::default(),
            latency,
            every: watch::Sender::new(EVERY),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        for number in 0..accounts {
            world.add(&name(number)).await;
        }
        world
    }

    async fn add(&self, name: &str) {
        let sealed = self.vault.seal(&credential_aad(name), &name.into()).unwrap();
        add_account(&self.host.pool(), &id(name), Source::Manual, sealed.as_str()).await;
    }

    /// What an account says from now on; it begins with the models 1 and 2.
    fn says(&self, account: &str, say: Say) {
        self.says.lock().unwrap().insert(account.to_owned(), say);
    }

    fn client(&self, replica: &'static str) -> Client {
        let (asked, says, begun, latency) =
            (Arc::clone(&self.asked), Arc::clone(&self.says), self.begun, self.latency);
        let config =
            UpstreamConfig { endpoints: vec!["http://one.test".into()], ..UpstreamConfig::default() };
        let script = move |posted: Posted| {
            let account = posted.headers["authorization"].to_str().unwrap()["Bearer ".len()..].to_owned();
            let models = posted.url.path().ends_with("fetchAvailableModels");
            let say = says.lock().unwrap().get(&account).copied().unwrap_or(Say::Models(&[1, 2]));
            if models {
                let at = Clock::system().instant() - begun;
                asked.lock().unwrap().push((at, account, replica));
            }
            async move {
                tokio::time::sleep(latency).await;
                let quota = json!({"quotaInfo": {"remainingFraction": 0.5}});
                let body = match say {
                    _ if !models => {
                        json!({"cloudaicompanionProject": "p", "currentTier": {"id": "free-tier"}})
                    }
                    Say::Models(numbers) => {
                        let offered: BTreeMap<_, _> =
                            numbers.iter().map(|number| (format!("gemini-{number}"), &quota)).collect();
                        json!({ "models": offered })
                    }
                    Say::Fail => return Err(TransportKind::Reset),
                    Say::Silence => std::future::pending().await,
                };
                Ok(::http::Response::new(reqwest::Body::from(body.to_string())).into())
            }
            .boxed()
        };
        Client::new(&config, self.clock.clone()).unwrap().scripted(Arc::new(script))
    }

    fn replica(&self, name: &'static str) -> Survey {
        let oauth = OAuth::new(http::client(&UpstreamConfig::default()).unwrap(), OAuthConfig::default());
        let (store, clock) = (self.host.pool(), self.clock.clone());
        let vault = Arc::clone(&self.vault);
        Survey::new(SurveyParts {
            catalogue: Catalogue::new(store.clone(), clock.clone(), Arc::new(Metrics::new().unwrap())),
            client: self.client(name),
            tokens: Tokens::new(oauth, vault, store.clone(), clock.clone(), self.tasks.clone()),
            store,
            clock,
            owner: OwnerId::new(name).unwrap(),
            interval: self.every.subscribe(),
            low: watch::channel(0.1).1,
        })
    }

    /// A replica that surveys until the end of the test.
    fn running(&self, name: &'static str) -> Survey {
        let survey = self.replica(name);
        self.tasks.spawn(survey.clone().run(self.stop.clone()));
        survey
    }

    /// When `account` was asked, in seconds.
    fn times(&self, account: &str) -> Vec<f64> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|one| one.1 == account).map(|one| one.0.as_secs_f64()).collect()
    }

    /// How old the quotas of each account are.
    async fn ages(&self) -> Vec<Option<i64>> {
        let page = self.host.pool().list_accounts(0, 1000, &[]).await.unwrap();
        let now_ms = page.stamp.now_ms;
        page.accounts.iter().map(|one| one.quota_at_ms.map(|at| now_ms - at)).collect()
    }

    /// An attempt meets a limit.
    async fn limit(&self, account: &str, lease: &str, kind: LimitKind, reset: Duration) {
        let account = id(account);
        let settle = Settle {
            account: &account,
            lease: &LeaseId::new(lease).unwrap(),
            credential: CredentialVersion(1),
            model: "gemini-1",
            admitted_at_ms: START_MS,
            outcome: Outcome::RateLimited { kind, reset: Some(reset) },
            received: false,
            usage: None,
        };
        self.host.pool().settle(&settle).await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn id(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

fn name(number: usize) -> String {
    format!("a{number}")
}

async fn models(survey: &Survey) -> Vec<String> {
    survey.0.catalogue.forget();
    survey.0.catalogue.models().await.unwrap().iter().map(|model: &Model| model.id.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn two_replicas_share_the_accounts_and_ask_none_twice_in_an_interval() {
    let world = World::new(40, SECOND / 5).await;
    let _replicas = (world.running("one"), world.running("two"));
    tokio::time::sleep(30 * SECOND).await;
    for _ in 0..60 {
        tokio::time::sleep(20 * SECOND).await;
        assert!(world.ages().await.iter().all(|age| age.unwrap() < 300_000));
    }
    for number in 0..40 {
        let times = world.times(&name(number));
        assert!(times.len() >= 5, "{times:?}");
        for pair in times.windows(2) {
            let apart = pair[1] - pair[0];
            assert!((240.0..275.0).contains(&apart), "{apart} in {times:?}");
        }
    }
    let asked = world.asked.lock().unwrap();
    for replica in ["one", "two"] {
        let share = asked.iter().filter(|one| one.2 == replica).count();
        assert!(share * 5 > asked.len(), "{replica} did {share} of {}", asked.len());
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_starves_among_two_hundred_slow_accounts_some_of_which_never_answer() {
    let world = World::new(200, 2 * SECOND).await;
    for number in 0..4 {
        world.says(&name(number * 50), Say::Silence);
    }
    let _survey = world.running("one");
    tokio::time::sleep(3 * 60 * SECOND).await;
    for _ in 0..60 {
        tokio::time::sleep(30 * SECOND).await;
        for (number, age) in world.ages().await.into_iter().enumerate() {
            assert!(number % 50 == 0 || age.unwrap() < 330_000, "{number}: {age:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_is_asked_soon_after_a_limit_of_its_quota_and_when_that_ends() {
    let world = World::new(2, SECOND / 5).await;
    let survey = world.running("one");
    tokio::time::sleep(100 * SECOND).await;
    world.limit("a0", "l1", LimitKind::Quota, 80 * SECOND).await;
    survey.limited(id("a0"));
    tokio::time::sleep(20 * SECOND).await;
    // Within the minute: put off, not forgotten, nor is the end of the limit at 180 s. The limit of the rate tells nothing about quotas.
    world.limit("a0", "l2", LimitKind::Quota, 20 * SECOND).await;
    world.limit("a1", "l3", LimitKind::Rate, 60 * SECOND).await;
    survey.limited(id("a0"));
    survey.limited(id("a1"));
    tokio::time::sleep(115 * SECOND).await;
    let times = world.times("a0");
    assert_eq!(times.len(), 4, "{times:?}");
    assert!((102.0..105.3).contains(&times[1]), "{times:?}");
    assert!((162.0..167.0).contains(&times[2]), "{times:?}");
    assert!((222.0..228.0).contains(&times[3]), "{times:?}");
    assert_eq!(world.times("a1").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_lock_of_a_replica_that_died_lapses() {
    let world = World::new(1, SECOND / 5).await;
    let dead = OwnerId::new("dead").unwrap();
    let work = quota_question(&id("a0"));
    assert_eq!(world.host.pool().try_lock(&work, &dead, LOCK).await.unwrap(), Lock::Taken);
    let _survey = world.running("one");
    tokio::time::sleep(2 * LOCK).await;
    let times = world.times("a0");
    assert!(times.len() == 1 && (30.0..41.0).contains(&times[0]), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_turn_keeps_its_lock_until_another_replica_has_it() {
    let world = World::new(1, SECOND).await;
    let (survey, store) = (world.replica("me"), world.host.pool());
    let (me, other) = (OwnerId::new("me").unwrap(), OwnerId::new("other").unwrap());
    let work = quota_question(&id("a0"));
    assert_eq!(store.try_lock(&work, &me, LOCK).await.unwrap(), Lock::Taken);
    let mut overtaken = Box::pin(survey.overtaken(&work, LOCK));
    for _ in 0..60 {
        assert!(tokio::time::timeout(10 * SECOND, &mut overtaken).await.is_err());
        assert!(matches!(store.try_lock(&work, &other, LOCK).await.unwrap(), Lock::Held(_)));
    }
    // Frozen for longer than the lock lives.
    tokio::time::sleep(2 * LOCK).await;
    assert_eq!(store.try_lock(&work, &other, LOCK).await.unwrap(), Lock::Taken);
    tokio::time::timeout(LOCK, overtaken).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_account_that_does_not_answer_is_left_alone_for_a_while_by_all() {
    let world = World::new(2, SECOND / 5).await;
    world.says("a0", Say::Fail);
    let _replicas = (world.running("one"), world.running("two"));
    tokio::time::sleep(4 * EVERY).await;
    let times = world.times("a0");
    assert!((7..=12).contains(&times.len()), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn new_accounts_are_asked_at_once_and_whoever_waits_is_told() {
    let world = World::new(12, SECOND).await;
    let survey = world.running("one");
    survey.known_within(20 * SECOND).await;
    assert!(world.clock.instant() - world.begun < 6 * SECOND);
    assert_eq!(models(&survey).await, ["gemini-1", "gemini-2"]);
    let known: BTreeSet<_> = world.asked.lock().unwrap().iter().map(|one| one.1.clone()).collect();
    assert_eq!(known.len(), 12);

    world.says("late", Say::Models(&[3]));
    world.add("late").await;
    survey.request();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(world.times("late").len(), 1);
    assert_eq!(models(&survey).await, ["gemini-1", "gemini-2", "gemini-3"]);
    // Onboarded on the way.
    let page = world.host.pool().list_accounts(0, 100, &[]).await.unwrap();
    assert!(page.accounts.iter().all(|one| one.managed_project.as_deref() == Some("p")));

    let asked = world.asked.lock().unwrap().len();
    let before = world.clock.instant();
    survey.known_within(20 * SECOND).await;
    assert!(world.clock.instant() - before < SECOND, "there is nothing to wait for");
    assert_eq!(world.asked.lock().unwrap().len(), asked, "what is known is not asked for again");
    tokio::time::sleep(SECOND).await;
    survey.completed_within(20 * SECOND).await;
    assert_eq!(world.asked.lock().unwrap().len(), asked + 13, "unless it is to be fresh");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_account_that_another_replica_has_asked_or_somebody_has_removed() {
    let world = World::new(2, SECOND / 5).await;
    let (store, other) = (world.host.pool(), OwnerId::new("other").unwrap());
    for number in 0..2 {
        assert_eq!(
            store.try_lock(&quota_question(&id(&name(number))), &other, LOCK).await.unwrap(),
            Lock::Taken
        );
    }
    let survey = world.running("one");
    let known = survey.known_within(20 * SECOND);
    let meanwhile = async {
        tokio::time::sleep(SECOND).await;
        store.put_quota(&id("a0"), &[]).await.unwrap();
        store.remove_account(&id("a1"), &[]).await.unwrap();
        // News of that make it look before the accounts' turns come again.
        survey.request();
    };
    tokio::join!(known, meanwhile);
    let waited = world.clock.instant() - world.begun;
    assert!((SECOND..2 * SECOND).contains(&waited), "{waited:?}");
    assert!(world.asked.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_noted_every_ten_minutes_by_one_replica() {
    let world = World::new(3, SECOND / 5).await;
    world.says("a1", Say::Models(&[2]));
    world.says("a2", Say::Fail);
    let _replicas = (world.running("one"), world.running("two"));
    tokio::time::sleep(65 * 60 * SECOND).await;
    let told = capacity::history(&world.host.pool(), 2).await.unwrap();
    let models: Vec<_> = told.models.iter().map(|one| one.model.as_str()).collect();
    assert_eq!(models, ["gemini-1", "gemini-2"]);
    for (model, accounts) in told.models.iter().zip([1, 2]) {
        assert!((6..=8).contains(&model.points.len()), "{model:?}");
        assert!(model.points.windows(2).all(|pair| pair[1].time - pair[0].time == 600_000), "{model:?}");
        let settled = &model.points[1..];
        assert!(settled.iter().all(|one| (one.left, one.accounts) == (0.5, accounts)), "{model:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_no_account_offers_any_more_leaves_when_all_have_answered() {
    let world = World::new(2, SECOND / 5).await;
    world.says("a1", Say::Models(&[2, 3]));
    let survey = world.running("one");
    survey.known_within(20 * SECOND).await;
    assert_eq!(models(&survey).await, ["gemini-1", "gemini-2", "gemini-3"]);
    world.says("a1", Say::Models(&[2]));
    tokio::time::sleep(SECOND).await;
    survey.completed_within(20 * SECOND).await;
    assert_eq!(models(&survey).await, ["gemini-1", "gemini-2"]);

    // One that does not answer may still offer what only it had: for a day.
    world.says("a1", Say::Fail);
    world.says("a0", Say::Models(&[1]));
    tokio::time::sleep(Duration::from_hours(23)).await;
    assert_eq!(models(&survey).await, ["gemini-1", "gemini-2"]);
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(models(&survey).await, ["gemini-1"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_sees_young_quotas_at_one_call_per_account_and_age() {
    let world = World::new(6, SECOND / 5).await;
    let replicas = [world.running("one"), world.running("two"), world.running("three")];
    tokio::time::sleep(20 * SECOND).await;
    for round in 0..60 {
        // Ten at a time, at all replicas.
        let looks =
            (0..10).map(|number| replicas[(round + number) % 3].younger_than(30 * SECOND, 10 * SECOND));
        futures_util::future::join_all(looks).await;
        let ages = world.ages().await;
        assert!(ages.iter().all(|age| age.unwrap() <= 30_000), "{ages:?}");
        tokio::time::sleep(2 * SECOND).await;
    }
    for number in 0..6 {
        let times = world.times(&name(number));
        assert!((4..=6).contains(&times.len()), "{times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 30.0), "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_not_asked_again_for_those_who_look() {
    let world = World::new(2, SECOND / 5).await;
    world.says("a0", Say::Fail);
    let replicas = [world.running("one"), world.running("two")];
    tokio::time::sleep(20 * SECOND).await;
    let before = world.times("a0").len();
    for _ in 0..20 {
        for replica in &replicas {
            let begun = world.clock.instant();
            replica.younger_than(30 * SECOND, 10 * SECOND).await;
            assert!(world.clock.instant() - begun < 2 * SECOND, "nobody waits for it");
        }
        tokio::time::sleep(2 * SECOND).await;
    }
    assert_eq!(world.times("a0").len(), before, "it is left alone");
    assert!(world.times("a1").len() >= 2);
    // Until somebody changes it.
    world.says("a0", Say::Models(&[1]));
    let accounts = [(id("a0"), CredentialVersion(1))];
    world.host.pool().refresh_accounts(&accounts, false).await.unwrap();
    for replica in &replicas {
        replica.changed(&id("a0"));
    }
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(world.times("a0").len(), before + 1);
    assert!(world.ages().await.iter().all(Option::is_some));
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_one_for_all_however_short_it_is() {
    let every = 30 * SECOND;
    let world = World::new(2, SECOND / 5).await;
    world.every.send_replace(every);
    world.says("a0", Say::Fail);
    let replicas = [world.running("one"), world.running("two"), world.running("three")];
    tokio::time::sleep(10 * SECOND).await;
    for _ in 0..60 {
        for replica in &replicas {
            let begun = world.clock.instant();
            replica.younger_than(10 * SECOND, 10 * SECOND).await;
            assert!(world.clock.instant() - begun < 2 * SECOND, "nobody waits for it");
        }
        tokio::time::sleep(2 * SECOND).await;
    }
    // Once more when a model was known, then once in half an interval.
    let times = world.times("a0");
    let pauses: Vec<_> = times[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 7 && pauses.iter().all(|pause| *pause >= 15.0), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_pause_is_a_pause_too_and_goes_when_the_account_is_refreshed() {
    let world = World::new(2, SECOND / 5).await;
    world.says("a0", Say::Fail);
    let (pool, one) = (world.host.pool(), world.running("one"));
    one.known_within(20 * SECOND).await;
    // Once more when a model was known.
    tokio::time::sleep(10 * SECOND).await;
    let before = world.times("a0").len();
    // Less is left of it than a turn may take.
    tokio::time::sleep(130 * SECOND).await;
    assert_eq!(world.times("a0").len(), before);
    let two = world.running("two");
    let begun = world.clock.instant();
    two.known_within(10 * SECOND).await;
    two.younger_than(200 * SECOND, 10 * SECOND).await;
    assert!(world.clock.instant() - begun < 2 * SECOND, "nobody waits for it");
    assert_eq!(world.times("a0").len(), before, "it is left alone");

    world.says("a0", Say::Models(&[1]));
    pool.refresh_accounts(&[(id("a0"), CredentialVersion(1))], false).await.unwrap();
    two.changed(&id("a0"));
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(world.times("a0").len(), before + 1);
    assert!(world.ages().await.iter().all(Option::is_some));
}

#[tokio::test(start_paused = true)]
async fn a_shorter_interval_holds_at_once() {
    let world = World::new(1, SECOND / 5).await;
    let _survey = world.running("one");
    tokio::time::sleep(100 * SECOND).await;
    world.every.send_replace(60 * SECOND);
    tokio::time::sleep(120 * SECOND).await;
    let times = world.times("a0");
    assert!((100.0..101.0).contains(&times[1]) && (3..=4).contains(&times.len()), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_models_of_a_new_pool_waits_for_its_accounts_answer_wherever_it_is_asked() {
    for before in [0, 3, 50, 100, 300, 1000] {
        let world = World::new(0, 2 * SECOND).await;
        let replicas = [world.running("one"), world.running("two")];
        tokio::time::sleep(10 * SECOND).await;
        world.add("new").await;
        let added = world.clock.instant();
        for replica in &replicas {
            replica.request();
        }
        tokio::time::sleep(Duration::from_millis(before)).await;
        let asked = async |replica: &Survey| {
            replica.known_within(10 * SECOND).await;
            // Its project, then its models.
            let took = world.clock.instant() - added;
            assert!(took < 5 * SECOND, "asked after {before} ms: {took:?}");
            assert_eq!(models(replica).await, ["gemini-1", "gemini-2"], "asked after {before} ms: {took:?}");
        };
        tokio::join!(asked(&replicas[0]), asked(&replicas[1]));
        assert_eq!(world.times("new").len(), 1, "by one of them");
    }
}
