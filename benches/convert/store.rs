//! The embedded store: small scripts, and admission with its settlement.

use std::fmt::Display;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::{SelectionConfig, Strategy};
use antigravity_proxy::store::Store;
use antigravity_proxy::store::embedded::EmbeddedHost;
use antigravity_proxy::store::host::{Call, Reply, ScriptHost, StoreError};
use antigravity_proxy::store::ident::{AccountId, Generation, LeaseId, OwnerId, Source};
use antigravity_proxy::store::keys::Keys;
use antigravity_proxy::store::ops::accounts::PutAccount;
use antigravity_proxy::store::ops::admit::{Admit, Decision, Grant};
use antigravity_proxy::store::ops::settle::{Outcome, Settle};
use antigravity_proxy::store::ops::tokens::{FinishedRefresh, Refresh};
use antigravity_proxy::store::registry;
use antigravity_proxy::store::script::Script;
use criterion::{BenchmarkId, Criterion, Throughput};

const MODEL: &str = "claude-sonnet-4-6";
const TTL: Duration = Duration::from_secs(30);
/// Admissions between two rounds of settlements: the leases that are live meanwhile.
const IN_FLIGHT: u64 = 64;

static NOTHING: Script = Script::periodic("nothing", "return 1");
static COUNT: Script = Script::periodic("count", "return redis.call('HINCRBY', KEYS[1], 'n', 1)");

/// What Redis would spend a round trip on: a call without work, and one that writes a field.
pub(crate) fn scripts(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let memory = EmbeddedHost::in_memory(Clock::system(), &[]).unwrap();
    let journal = EmbeddedHost::open(directory.path(), Clock::system(), &[]).unwrap();
    let mut group = c.benchmark_group("script");
    group.throughput(Throughput::Elements(1));
    for (name, script, host) in
        [("nothing", &NOTHING, &memory), ("count", &COUNT, &memory), ("count, journal", &COUNT, &journal)]
    {
        group.bench_function(name, |b| {
            b.iter(|| {
                let replies = runtime.block_on(host.eval(vec![Call::new(script).key("{bench}")])).unwrap();
                assert!(!matches!(replies[0], Reply::Error(_)));
                black_box(replies)
            });
        });
    }
    group.finish();
}

/// One admission and one settlement over pools of two sizes.
pub(crate) fn admission(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(1));
    for accounts in [5, 100] {
        for strategy in [Strategy::RoundRobin, Strategy::Hybrid] {
            let mut pool = runtime.block_on(Pool::new(accounts, strategy)).unwrap();
            for part in [Part::Admit, Part::Settle] {
                group.bench_function(
                    BenchmarkId::new(format!("{part} {}", strategy.as_str()), accounts),
                    |b| {
                        b.iter_custom(|count| runtime.block_on(pool.time(part, count)).unwrap());
                    },
                );
            }
        }
    }
    group.finish();
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Admit,
    Settle,
}

impl Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Admit { "admit" } else { "settle" })
    }
}

/// Accounts with a token each, which the caller holds, as in a gateway that has run for a while.
struct Pool {
    store: Store,
    held: Vec<(AccountId, Generation)>,
    leases: u64,
}

impl Pool {
    async fn new(accounts: usize, strategy: Strategy) -> Result<Self, StoreError> {
        let host = EmbeddedHost::in_memory(Clock::system(), registry::ALL)?;
        let selection = SelectionConfig { strategy, ..SelectionConfig::default() };
        let store = Store::new(Arc::new(host), Keys::new("bench").unwrap(), &selection);
        let owner = OwnerId::new("bench").unwrap();
        let mut held = Vec::with_capacity(accounts);
        for n in 0..accounts {
            let id = AccountId::new(&format!("{n:032x}")).unwrap();
            let email = format!("bench{n}@example.com");
            let put = PutAccount {
                project: Some("bench-project"),
                ..PutAccount::new(
                    &id,
                    &email,
                    Source::OAuth,
                    "sealed",
                    "6f1c2a34-0d2b-4c57-9a51-7d6f0b8e91231700000000000",
                )
            };
            store.put_account(&put).await?;
            if let Refresh::Granted { credential, .. } = store.begin_refresh(&id, &owner, TTL).await? {
                let day = Duration::from_hours(24);
                let token = "t".repeat(320);
                let kept = store.finish_refresh(&id, &owner, credential, day, &token).await?;
                if let FinishedRefresh::Kept(generation) = kept {
                    held.push((id, generation));
                }
            }
        }
        assert_eq!(held.len(), accounts, "every account has a token");
        Ok(Self { store, held, leases: 0 })
    }

    /// The time that `count` calls of `part` take.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    async fn time(&mut self, part: Part, count: u64) -> Result<Duration, StoreError> {
        let (mut left, mut spent) = (count, Duration::ZERO);
        while left > 0 {
            let now = left.min(IN_FLIGHT);
            left -= now;
            let begun = Instant::now();
            let granted = self.admit(now).await?;
            let admitted = begun.elapsed();
            self.settle(granted).await?;
            spent += if part == Part::Admit { admitted } else { begun.elapsed().saturating_sub(admitted) };
        }
        Ok(spent)
    }

    async fn admit(&mut self, count: u64) -> Result<Vec<(LeaseId, Box<Grant>, i64)>, StoreError> {
        let mut granted = Vec::new();
        for _ in 0..count {
            self.leases += 1;
            let lease = LeaseId::new(&format!("lease-{}", self.leases)).unwrap();
            let admit = Admit {
                lease: &lease,
                lease_ttl: TTL,
                model: MODEL,
                tried: &[],
                known: &self.held,
                probe_after: None,
                conversation: None,
            };
            let admission = self.store.admit(&admit).await?;
            if let Decision::Granted(grant) = admission.decision {
                granted.push((lease, grant, admission.stamp.now_ms));
            }
        }
        Ok(granted)
    }

    async fn settle(&self, granted: Vec<(LeaseId, Box<Grant>, i64)>) -> Result<(), StoreError> {
        for (lease, grant, admitted_at_ms) in granted {
            let settle = Settle {
                account: &grant.account,
                lease: &lease,
                credential: grant.credential,
                model: MODEL,
                admitted_at_ms,
                outcome: Outcome::Success,
                received: true,
                usage: None,
            };
            self.store.settle(&settle).await?;
        }
        Ok(())
    }
}
