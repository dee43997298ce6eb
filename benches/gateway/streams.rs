//! `--streams`: what thousands of open streams cost in memory, whether all of them live, and what is left of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use futures_util::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::line::float;
use crate::load::Load;
use crate::process::{Child, Setup};
use crate::report::{Case, Findings};
use crate::{Effort, limits};

/// Streams on each target.
const STREAMS: usize = 5_000;
/// Streams of a quick run.
const FEW: usize = 500;
/// Clients that open them.
const OPENING: usize = 16;
/// Between two chunks of the simulator's model, and some more.
const NEXT_CHUNK: Duration = Duration::from_secs(90);
/// Until everything of the last stream is written.
const SETTLED: Duration = Duration::from_secs(2);
/// Until what the last streams left is freed where it is freed late.
const AFTERWARDS: Duration = Duration::from_mins(1);

/// The words that a chunk of text has in the relay's answer, and in the gateway's.
const TEXT: [&[u8]; 2] = [b"\"text\":", b"content_block_delta"];

/// A stream whose first chunk of text was read.
struct Stream {
    sender: SendRequest<Full<Bytes>>,
    body: Incoming,
}

pub(crate) async fn run(effort: &Effort) -> Result<Findings> {
    let count = if effort.quick { FEW } else { STREAMS };
    // Two connections for each stream in the simulator, the same in this process.
    limits::files(4 * count as u64)?;
    let mut text = format!(
        "{:<8} {:<10} {:>8} {:>10} {:>14} {:>14} {:>10} {:>16}\n",
        "request", "", "streams", "kB each", "idle kB", "open kB", "alive", "60 s later kB"
    );
    let mut found = Vec::new();
    for large in [false, true] {
        // Processes that held nothing yet.
        let setup = Setup::start().await?;
        let case = Case { model: "gemini-held".to_owned(), ..Case::open_streams(large) };
        let loads = [setup.relay_load(&case)?, setup.gateway_load(&case)];
        let children: [&Child; 2] = [&setup.relay, &setup.gateway];
        let request = if large { "cc" } else { "small" };
        let (mut memory, mut all) = (Vec::new(), Vec::new());
        for ((child, load), mark) in children.into_iter().zip(&loads).zip(TEXT) {
            let idle = child.resident_kib()?;
            all.push(next_chunks(open(load, count, mark).await?, mark));
            sleep(SETTLED).await;
            memory.push((idle, child.resident_kib()?));
        }
        // Both wait for the same time, and are closed together.
        let fates = try_join_all(all).await?;
        let ended: Vec<_> = fates.into_iter().map(|fate| (fate.alive.len(), fate.ends)).collect();
        sleep(AFTERWARDS).await;
        for (((who, child), (idle, held)), (alive, ends)) in
            ["relay", "gateway"].into_iter().zip(children).zip(memory).zip(ended)
        {
            let after = child.resident_kib()?;
            let each = float(held.saturating_sub(idle)) / float(count as u64);
            let _ = writeln!(
                text,
                "{request:<8} {who:<10} {count:>8} {each:>10.1} {idle:>14} {held:>14} {alive:>10} {after:>16}"
            );
            for (end, count) in &ends {
                let _ = writeln!(text, "  {count} ended: {end}");
            }
            found.push(json!({
                "request": request, "process": who, "ends": ends, "streams": count, "kib_each": each, "idle_kib": idle,
                "open_kib": held, "alive": alive, "after_kib": after,
            }));
        }
    }
    Ok(Findings::new("streams", text, found.into()))
}

/// Opens `count` streams and reads the first chunk of text of each.
async fn open(load: &Load, count: usize, mark: &'static [u8]) -> Result<Vec<Stream>> {
    let mut tasks = JoinSet::new();
    for client in 0..OPENING {
        let load = load.clone();
        let mine = count / OPENING + usize::from(client < count % OPENING);
        tasks.spawn(async move {
            let mut streams = Vec::with_capacity(mine);
            for _ in 0..mine {
                let mut sender = load.connect().await?;
                let body = load.send(&mut sender).await?;
                let mut stream = Stream { sender, body };
                stream.text(mark).await?;
                streams.push(stream);
            }
            anyhow::Ok(streams)
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(streams) = tasks.join_next().await {
        all.extend(streams??);
    }
    Ok(all)
}

/// What became of streams: those that live, and what ended the others.
struct Fate {
    alive: Vec<Stream>,
    ends: BTreeMap<String, usize>,
}

/// Waits for one more chunk of each.
async fn next_chunks(streams: Vec<Stream>, mark: &'static [u8]) -> Result<Fate> {
    let mut tasks = JoinSet::new();
    for mut stream in streams {
        tasks.spawn(async move {
            let came = timeout(NEXT_CHUNK, stream.text(mark)).await.context("no chunk came")?;
            came.map(|()| stream)
        });
    }
    let mut fate = Fate { alive: Vec::new(), ends: BTreeMap::new() };
    while let Some(stream) = tasks.join_next().await {
        match stream? {
            Ok(stream) => fate.alive.push(stream),
            Err(error) => *fate.ends.entry(format!("{error:#}")).or_default() += 1,
        }
    }
    Ok(fate)
}

impl Stream {
    /// Reads until a chunk of text has come.
    async fn text(&mut self, mark: &[u8]) -> Result<()> {
        let mut seen = BytesMut::new();
        loop {
            if self.sender.is_closed() {
                bail!("the connection is closed");
            }
            let frame = self.body.frame().await.context("the stream has ended")??;
            seen.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if memchr::memmem::find(&seen, mark).is_some() {
                return Ok(());
            }
        }
    }
}
