//! One process that asks for accounts, as a gateway does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::Store;
use antigravity_proxy::store::host::{Call, ScriptHost as _};
use antigravity_proxy::store::ident::LeaseId;
use antigravity_proxy::store::keys::ConversationKey;
use antigravity_proxy::store::ops::admit::{Admit, Decision, Grant};
use antigravity_proxy::store::ops::settle::{Outcome, Settle};
use antigravity_proxy::store::script::Script;
use anyhow::{Context as _, Result, ensure};

use crate::pool::{HOT, MODEL, open};

/// Only reads what admission reads.
static YARDSTICK: Script =
    Script::periodic("yardstick", "local records = redis.call('HGETALL', KEYS[1]) return #records");

/// Which conversations ask.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Talks {
    /// The same twenty again and again.
    Few,
    /// Each asks once.
    New,
}

/// The other end of a worker, in the process that measures. It ends with this value.
pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one and waits until it is connected.
    pub(crate) fn start(url: &str, strategy: Strategy, talks: Talks, number: usize) -> Result<Self> {
        let talks = if talks == Talks::New { "new" } else { "few" };
        let mut child = Command::new(std::env::current_exe()?)
            .args(["worker", url, strategy.as_str(), talks, &number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().context("a pipe was asked for")?;
        let answers = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
        let mut worker = Self { child, orders, answers };
        worker.done()?;
        Ok(worker)
    }

    /// Gives an order.
    pub(crate) fn tell(&mut self, order: &str) -> Result<()> {
        writeln!(self.orders, "{order}")?;
        Ok(self.orders.flush()?)
    }

    /// Waits until the order is carried out.
    pub(crate) fn done(&mut self) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(line == "done\n", "the worker says {line:?}");
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is admitted and not yet settled.
type Open = (LeaseId, Box<Grant>, i64);

/// The worker's own life: orders on standard input, `done` for each on standard output.
pub(crate) fn serve(arguments: &[String]) -> Result<()> {
    let [url, strategy, talks, number, ..] = arguments else { anyhow::bail!("too few arguments") };
    let known = [Strategy::Hybrid, Strategy::RoundRobin, Strategy::Sticky];
    let strategy = known.into_iter().find(|one| one.as_str() == strategy).context("a strategy")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (store, host) = runtime.block_on(open(url, strategy))?;
    println!("done");
    let (mut asked, mut unsettled) = (0_usize, Vec::new());
    for order in std::io::stdin().lines() {
        let order = order?;
        match order.split_once(' ') {
            Some(("admit", count)) => {
                for _ in 0..count.parse()? {
                    asked += 1;
                    let talk = if talks == "new" { asked } else { asked % 20 };
                    let lease = LeaseId::new(&format!("{number}-{asked}"))?;
                    unsettled.push(runtime.block_on(admit(&store, lease, &format!("{number}-{talk}")))?);
                }
            }
            Some((_, count)) => {
                for _ in 0..count.parse()? {
                    runtime.block_on(host.eval(vec![Call::new(&YARDSTICK).key(HOT)]))?;
                }
            }
            None => {
                for one in unsettled.drain(..) {
                    runtime.block_on(settle(&store, &one))?;
                }
            }
        }
        println!("done");
    }
    Ok(())
}

async fn admit(store: &Store, lease: LeaseId, talk: &str) -> Result<Open> {
    let conversation = ConversationKey::new("bench", talk, MODEL);
    let admit = Admit {
        lease: &lease,
        lease_ttl: Duration::from_secs(30),
        model: MODEL,
        tried: &[],
        known: &[],
        probe_after: Some(Duration::from_mins(2)),
        conversation: Some(&conversation),
    };
    let admission = store.admit(&admit).await?;
    match admission.decision {
        Decision::Granted(grant) => Ok((lease, grant, admission.stamp.now_ms)),
        other => anyhow::bail!("no account: {other:?}"),
    }
}

async fn settle(store: &Store, (lease, grant, admitted_at_ms): &Open) -> Result<()> {
    let settle = Settle {
        account: &grant.account,
        lease,
        credential: grant.credential,
        model: MODEL,
        admitted_at_ms: *admitted_at_ms,
        outcome: Outcome::Success,
        received: true,
        usage: None,
    };
    store.settle(&settle).await?;
    Ok(())
}
