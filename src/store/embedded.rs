//! The store inside the process: the scripts of Redis over an own keyspace, kept in a journal.
//!
//! One process only; several gateways share state through Redis. A [`std::sync::Mutex`] guards Lua
//! state and keyspace together and is never held across an await nor while a file is used; a script
//! takes microseconds. Compaction is the one longer hold: it serialises the keyspace to memory,
//! about a millisecond per megabyte.

mod commands;
mod disk;
mod journal;
mod keyspace;
mod lock;
mod number;
mod packing;
mod replay;
pub(in crate::store) mod resp;
mod sandbox;
mod snapshot;
mod value;

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

pub use self::disk::{Disk, FileSystem, LogFile};
use self::journal::{Journal, Limits, Position};
use self::keyspace::Keyspace;
use self::lock::DirLock;
use self::sandbox::Sandbox;
use super::host::{Call, Event, Reply, ScriptHost, StoreError};
use super::script::{Durability, Script};
use crate::clock::Clock;

/// The journal's name in the data directory.
const JOURNAL: &str = "journal.resp";
/// Events a slow subscriber may be behind.
const EVENTS: usize = 1024;
/// Expired keys removed per batch of calls.
const SWEEP: usize = 32;

/// Bounds of an embedded store.
#[derive(Clone, Debug)]
pub struct Options {
    /// File operations; tests count and fail them.
    pub disk: Arc<dyn Disk>,
    /// Longest time a write of a periodic script stays without fsync; default 1 s.
    pub sync_every: Duration,
    /// No compaction below this size; default 4 MiB. Above, it runs when the journal has doubled.
    pub rewrite_min_bytes: u64,
    /// Journal bytes that may wait for the disk before calls are refused; default 64 MiB.
    pub backlog_bytes: usize,
    /// Lua instructions one script may run, counted in steps of 10,000; default 20 million (about 0.2 s).
    pub max_instructions: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            disk: Arc::new(FileSystem),
            sync_every: Duration::from_secs(1),
            rewrite_min_bytes: 4 << 20,
            backlog_bytes: 64 << 20,
            max_instructions: 20_000_000,
        }
    }
}

/// The store of a single process.
#[derive(Debug)]
pub struct EmbeddedHost {
    engine: Mutex<Sandbox>,
    events: broadcast::Sender<Event>,
    clock: Clock,
    // Dropped in this order: the lock is released after the journal's last write.
    journal: Option<Journal>,
    _lock: Option<DirLock>,
}

impl EmbeddedHost {
    /// Opens the store in `data_dir`, which is created (mode 0700) when absent, and compiles `scripts`.
    ///
    /// Fails when another process has the directory, when the journal is damaged before its tail,
    /// or when a script does not compile.
    pub fn open(data_dir: &Path, clock: Clock, scripts: &[&'static Script]) -> Result<Self, StoreError> {
        Self::open_with(data_dir, clock, scripts, Options::default())
    }

    /// As [`EmbeddedHost::open`], with other bounds.
    pub fn open_with(
        data_dir: &Path,
        clock: Clock,
        scripts: &[&'static Script],
        options: Options,
    ) -> Result<Self, StoreError> {
        disk::create_private_dir(data_dir).map_err(|source| StoreError::Io {
            action: "create",
            path: data_dir.into(),
            source,
        })?;
        let lock = DirLock::take(data_dir)?;
        let (events, _) = broadcast::channel(EVENTS);
        let mut keyspace = Keyspace::new(events.clone());
        let path = data_dir.join(JOURNAL);
        let (file, size) = load(options.disk.as_ref(), &path, &mut keyspace)?;
        keyspace.start_recording();
        let engine = Sandbox::new(keyspace, scripts, options.max_instructions)?;
        let limits = Limits {
            sync_every: options.sync_every,
            rewrite_min: options.rewrite_min_bytes,
            backlog: options.backlog_bytes,
        };
        let journal = Journal::start(options.disk, file, path, size, limits, clock.clone())?;
        Ok(Self { engine: Mutex::new(engine), events, clock, journal: Some(journal), _lock: Some(lock) })
    }

    /// A store that forgets everything with the process.
    pub fn in_memory(clock: Clock, scripts: &[&'static Script]) -> Result<Self, StoreError> {
        Self::in_memory_with(clock, scripts, &Options::default())
    }

    /// As [`EmbeddedHost::in_memory`], with other bounds.
    pub fn in_memory_with(
        clock: Clock,
        scripts: &[&'static Script],
        options: &Options,
    ) -> Result<Self, StoreError> {
        let (events, _) = broadcast::channel(EVENTS);
        let engine = Sandbox::new(Keyspace::new(events.clone()), scripts, options.max_instructions)?;
        Ok(Self { engine: Mutex::new(engine), events, clock, journal: None, _lock: None })
    }

    /// Whether scripts may call the Redis command `name`.
    #[must_use]
    pub fn knows_command(name: &str) -> bool {
        commands::is_known(name)
    }

    /// Writes every key as Redis commands, for `redis-cli --pipe`. Calls wait while the keys are
    /// copied to memory, not while `out` is written.
    pub fn export(&self, mut out: impl Write) -> io::Result<()> {
        let now = self.clock.epoch_ms();
        let commands = {
            let engine = self.engine().map_err(io::Error::other)?;
            engine.with_keyspace(|keyspace| snapshot::export(keyspace, now))
        };
        out.write_all(&commands)?;
        out.flush()
    }

    /// The names of keys that begin with `prefix`.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let now = self.clock.epoch_ms();
        Ok(self.engine()?.with_keyspace(|keyspace| snapshot::names(keyspace, prefix, now)))
    }

    /// Every key as text, ordered by name, to compare two stores by: one line per key,
    /// `"key" expires=<ms or -> <type> <content>`.
    pub fn dump(&self) -> Result<String, StoreError> {
        let now = self.clock.epoch_ms();
        Ok(self.engine()?.with_keyspace(|keyspace| snapshot::dump(keyspace, now)))
    }

    /// Writes the keyspace to a new journal, whatever its size. Done when a later durable call returns.
    pub fn compact(&self) -> Result<(), StoreError> {
        let engine = self.engine()?;
        if let Some(journal) = &self.journal {
            journal.rewrite(self.snapshot(&engine));
        }
        Ok(())
    }

    fn snapshot(&self, engine: &Sandbox) -> Vec<u8> {
        let now = self.clock.epoch_ms();
        engine.with_keyspace(|keyspace| snapshot::snapshot(keyspace, now))
    }

    fn engine(&self) -> Result<MutexGuard<'_, Sandbox>, StoreError> {
        // A panic in the middle of a script leaves half of its changes: nothing may build on that.
        self.engine.lock().map_err(|_| StoreError::Unavailable {
            reason: "a fault inside the store left it unusable; restart the gateway".into(),
        })
    }

    /// Runs `batch`; returns the position to wait for when a call must be durable.
    fn run(&self, batch: &[Call]) -> Result<(Vec<Reply>, Option<Position>), StoreError> {
        let durable = batch.iter().any(|call| call.script.durability == Durability::Fsync);
        let mut engine = self.engine()?;
        if let Some(journal) = &self.journal {
            journal.admit(durable)?;
        }
        for call in batch {
            engine.compile(call.script)?;
        }
        let now = self.clock.epoch_ms();
        engine.with_keyspace(|keyspace| {
            keyspace.now = Some(now);
            keyspace.sweep(SWEEP);
            self.keep(keyspace);
        });
        let mut replies = Vec::with_capacity(batch.len());
        for call in batch {
            let reply = engine.run(call);
            engine.with_keyspace(|keyspace| self.keep(keyspace));
            replies.push(reply?);
        }
        let Some(journal) = &self.journal else { return Ok((replies, None)) };
        if journal.wants_snapshot() {
            journal.rewrite(self.snapshot(&engine));
        }
        // Also when nothing was written: the reply may rest on a write that is still on its way.
        Ok((replies, durable.then(|| journal.request_sync())))
    }

    /// Moves what was recorded to the journal, as one batch.
    fn keep(&self, keyspace: &mut Keyspace) {
        if let Some(journal) = &self.journal
            && !keyspace.effects().is_empty()
        {
            journal.append(keyspace.effects());
            keyspace.clear_effects();
        }
    }
}

impl ScriptHost for EmbeddedHost {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        Box::pin(async move {
            let (replies, position) = self.run(&batch)?;
            if let (Some(journal), Some(position)) = (&self.journal, position) {
                journal.synced(position).await?;
            }
            Ok(replies)
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

/// Reads the journal at `path` into `keyspace`, mends its tail, and opens it for writing.
fn load(
    disk: &dyn Disk,
    path: &Path,
    keyspace: &mut Keyspace,
) -> Result<(Box<dyn LogFile>, u64), StoreError> {
    let io = |action: &'static str| move |source| StoreError::Io { action, path: path.into(), source };
    disk.remove(&journal::temporary(path)).map_err(io("remove what a compaction left beside"))?;
    let bytes = disk.read(path).map_err(io("read"))?.unwrap_or_default();
    let replayed = replay::replay(&bytes, keyspace).map_err(|damage| StoreError::Corrupt {
        path: path.into(),
        offset: damage.offset as u64,
        detail: damage.detail,
    })?;
    let torn = bytes.len() - replayed.len;
    if torn > 0 {
        tracing::warn!(
            path = %path.display(), offset = replayed.len, bytes = torn,
            "the journal ends in the middle of a write, as a crash leaves it; the unfinished part is dropped"
        );
    }
    if replayed.len == 0 {
        let mut file = disk.create(path).map_err(io("create"))?;
        file.append(replay::HEADER).and_then(|()| file.sync()).map_err(io("write"))?;
        disk.sync_dir(path.parent().unwrap_or(Path::new("."))).map_err(io("sync the directory of"))?;
        return Ok((file, replay::HEADER.len() as u64));
    }
    let file = disk.append_to(path, replayed.len as u64).map_err(io("open"))?;
    Ok((file, replayed.len as u64))
}
