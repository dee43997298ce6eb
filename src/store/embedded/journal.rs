//! Keeps on disk what scripts changed.
//!
//! Batches are queued under the store's lock and written by one thread, in order. A caller that
//! must not lose its write waits for the sync behind it; while one sync runs, all who come meanwhile
//! share the next. Everything else is synced once per interval. No file is touched under the lock.
//!
//! When the file has grown to a multiple of what the keyspace needs, the thread writes a snapshot to
//! a new file, syncs it, renames it over the old one and syncs the directory; batches queued since
//! the snapshot was taken follow in the new file. A crash between any two of these steps leaves
//! either the old file or the new one, and both are whole.
//!
//! After a failed write or sync nothing more is written: a file system that lost data once cannot be
//! trusted to have the rest. Callers that wait are told, and durable calls are refused from then on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::disk::{Disk, LogFile};
use super::replay::HEADER;
use super::resp;
use crate::clock::Clock;
use crate::store::host::StoreError;

/// Sizes and intervals of a journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest time a written batch stays without sync.
    pub(super) sync_every: Duration,
    /// No rewrite below this size.
    pub(super) rewrite_min: u64,
    /// Bytes that may wait for the disk.
    pub(super) backlog: usize,
}

/// The queue's end that the store holds.
#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    writer: Option<JoinHandle<()>>,
    dir: PathBuf,
    limits: Limits,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// Encoded batches to append.
    pending: Vec<u8>,
    /// A snapshot to write behind `before`, ahead of `pending`.
    rewrite: Option<Rewrite>,
    /// Bytes of batches ever queued: a position that callers wait for.
    queued: u64,
    /// Somebody waits for a sync of everything queued so far.
    urgent: bool,
    stop: bool,
    failed: Option<Arc<str>>,
    /// Size of the file once everything queued is written.
    size: u64,
    /// Size at which the next snapshot is worth it.
    rewrite_at: u64,
}

#[derive(Debug)]
struct Rewrite {
    before: Vec<u8>,
    snapshot: Vec<u8>,
}

/// How far the disk has got.
#[derive(Clone, Debug, Default)]
struct Progress {
    synced: u64,
    failed: Option<Arc<str>>,
}

/// A position in the journal to wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position(u64);

impl Journal {
    /// Starts the writer behind `file`, which is `size` bytes long and synced.
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        file: Box<dyn LogFile>,
        path: PathBuf,
        size: u64,
        limits: Limits,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let queue =
            Queue { size, rewrite_at: limits.rewrite_min.max(size.saturating_mul(2)), ..Queue::default() };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), woken: Condvar::new() });
        let (sender, progress) = watch::channel(Progress::default());
        let dir = path.parent().unwrap_or(Path::new(".")).to_owned();
        let writer = Writer {
            shared: Arc::clone(&shared),
            progress: sender,
            disk,
            file,
            path: path.clone(),
            dir: dir.clone(),
            limits,
            clock,
        };
        let writer = std::thread::Builder::new()
            .name("store-journal".into())
            .spawn(move || writer.run())
            .map_err(|source| StoreError::Io { action: "start the writer of", path, source })?;
        Ok(Self { shared, progress, writer: Some(writer), dir, limits })
    }

    /// Refuses work that the journal could not take: durable work after a fault, any work when the
    /// disk is too far behind.
    pub(super) fn admit(&self, durable: bool) -> Result<(), StoreError> {
        let queue = self.shared.lock();
        if let Some(reason) = queue.failed.as_deref().filter(|_| durable) {
            return Err(self.read_only(reason));
        }
        if queue.pending.len() > self.limits.backlog {
            return Err(StoreError::Unavailable {
                reason: "the disk does not keep up with the journal".into(),
            });
        }
        Ok(())
    }

    /// Queues the commands of one script as one batch.
    pub(super) fn append(&self, commands: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.failed.is_some() {
            return;
        }
        let before = queue.pending.len();
        resp::push_batch(&mut queue.pending, commands);
        let added = (queue.pending.len() - before) as u64;
        queue.queued += added;
        queue.size += added;
        drop(queue);
        self.shared.woken.notify_one();
    }

    /// Asks for a sync of everything queued so far.
    pub(super) fn request_sync(&self) -> Position {
        let mut queue = self.shared.lock();
        let position = Position(queue.queued);
        if self.progress.borrow().synced < position.0 {
            queue.urgent = true;
            drop(queue);
            self.shared.woken.notify_one();
        }
        position
    }

    /// Returns when `position` is on disk.
    pub(super) async fn synced(&self, position: Position) -> Result<(), StoreError> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|now| now.synced >= position.0 || now.failed.is_some()).await;
        match reached {
            Ok(now) if now.synced >= position.0 => Ok(()),
            Ok(now) => Err(self.read_only(now.failed.as_deref().unwrap_or_default())),
            Err(_) => Err(self.read_only("the journal's writer has stopped")),
        }
    }

    /// Whether the file has grown enough for a snapshot to be worth it.
    pub(super) fn wants_snapshot(&self) -> bool {
        let queue = self.shared.lock();
        queue.size >= queue.rewrite_at && queue.rewrite.is_none() && queue.failed.is_none()
    }

    /// Queues a snapshot that stands for everything appended so far.
    pub(super) fn rewrite(&self, snapshot: Vec<u8>) {
        let mut queue = self.shared.lock();
        queue.size = (HEADER.len() + snapshot.len()) as u64;
        queue.rewrite_at = self.limits.rewrite_min.max(queue.size.saturating_mul(2));
        // One that still waits is superseded; what was to be written ahead of it stays ahead.
        let mut before = queue.rewrite.take().map(|waiting| waiting.before).unwrap_or_default();
        before.append(&mut queue.pending);
        queue.rewrite = Some(Rewrite { before, snapshot });
        drop(queue);
        self.shared.woken.notify_one();
    }

    fn read_only(&self, reason: &str) -> StoreError {
        StoreError::ReadOnly { dir: self.dir.clone(), reason: reason.into() }
    }
}

impl Drop for Journal {
    /// Writes and syncs what is queued.
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.woken.notify_one();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was reported where it happened.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is complete before the guard can be lost.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's end.
struct Writer {
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    disk: Arc<dyn Disk>,
    file: Box<dyn LogFile>,
    path: PathBuf,
    dir: PathBuf,
    limits: Limits,
    clock: Clock,
}

/// What one round of the writer does.
struct Work {
    rewrite: Option<Rewrite>,
    bytes: Vec<u8>,
    /// Everything up to here is in `rewrite` and `bytes`, or written before.
    position: u64,
    sync: bool,
    last: bool,
}

impl Writer {
    fn run(mut self) {
        let mut unsynced_since = None;
        loop {
            let work = self.next(unsynced_since);
            let (last, position) = (work.last, work.position);
            match self.perform(work) {
                Ok(true) => {
                    unsynced_since = None;
                    self.progress.send_modify(|now| now.synced = position);
                }
                Ok(false) => unsynced_since = unsynced_since.or_else(|| Some(self.clock.instant())),
                Err(error) => {
                    tracing::error!(path = %self.path.display(), %error, "the journal cannot be written; durable writes are refused");
                    let reason: Arc<str> = error.to_string().into();
                    let mut queue = self.shared.lock();
                    queue.failed = Some(Arc::clone(&reason));
                    queue.pending = Vec::new();
                    queue.rewrite = None;
                    drop(queue);
                    self.progress.send_modify(|now| now.failed = Some(reason));
                    return;
                }
            }
            if last {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn next(&self, unsynced_since: Option<tokio::time::Instant>) -> Work {
        let mut queue = self.shared.lock();
        loop {
            let age = unsynced_since.map(|since| self.clock.instant().saturating_duration_since(since));
            let due = age.is_some_and(|age| age >= self.limits.sync_every);
            if queue.stop || queue.urgent || due || queue.rewrite.is_some() || !queue.pending.is_empty() {
                let work = Work {
                    rewrite: queue.rewrite.take(),
                    bytes: std::mem::take(&mut queue.pending),
                    position: queue.queued,
                    sync: queue.urgent || queue.stop || due,
                    last: queue.stop,
                };
                queue.urgent = false;
                return work;
            }
            queue = match age {
                None => self.shared.woken.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(age) => {
                    let left = self.limits.sync_every.saturating_sub(age);
                    let waited = self.shared.woken.wait_timeout(queue, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Writes; whether everything up to the work's position is synced now.
    fn perform(&mut self, work: Work) -> std::io::Result<bool> {
        let mut sync = work.sync;
        if let Some(Rewrite { before, snapshot }) = work.rewrite {
            self.append(&before)?;
            // Those who wait for what is queued by now must not wait for a file of any size.
            if sync {
                self.file.sync()?;
            }
            if self.replace(&snapshot)? {
                // The snapshot holds everything before it.
                sync |= work.bytes.is_empty();
            }
        }
        self.append(&work.bytes)?;
        if sync {
            self.file.sync()?;
        }
        Ok(sync)
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if bytes.is_empty() { Ok(()) } else { self.file.append(bytes) }
    }

    /// Puts a file with `snapshot` in the journal's place. Until the rename a fault is no harm: the
    /// old file goes on. Behind it, it is one.
    fn replace(&mut self, snapshot: &[u8]) -> std::io::Result<bool> {
        let temporary = temporary(&self.path);
        let written = self.disk.create(&temporary).and_then(|mut file| {
            file.append(HEADER)?;
            file.append(snapshot)?;
            file.sync()?;
            self.disk.rename(&temporary, &self.path)?;
            Ok(file)
        });
        match written {
            Ok(file) => {
                self.file = file;
                self.disk.sync_dir(&self.dir)?;
                tracing::debug!(path = %self.path.display(), bytes = snapshot.len(), "journal compacted");
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(path = %temporary.display(), %error, "the journal cannot be compacted; it goes on growing");
                let _ = self.disk.remove(&temporary);
                Ok(false)
            }
        }
    }
}

/// Where a snapshot is written before it takes the journal's place.
pub(super) fn temporary(path: &Path) -> PathBuf {
    path.with_extension("new")
}
