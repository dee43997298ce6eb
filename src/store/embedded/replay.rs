//! Reading a journal back.
//!
//! A crash leaves at most an unfinished batch at the end: it is cut off. Bytes that no crash can
//! leave (a changed byte, a gap with batches behind it) are reported, never skipped.

use super::commands::execute;
use super::keyspace::{Args, Keyspace};
use super::resp::{self, BEGIN, Fault};
use crate::store::host::Reply;

/// First bytes of a journal; a harmless command, so that the file stays one `redis-cli --pipe` takes.
pub(super) const HEADER: &[u8] = b"*2\r\n$4\r\nECHO\r\n$27\r\nantigravity-proxy journal 1\r\n";

/// How far a journal could be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Where the last whole batch ends; less than the file's length when its tail is torn.
    pub(super) len: usize,
    /// How many batches there are.
    pub(super) batches: usize,
}

/// Damage before the tail.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// Where the last whole batch ends.
    pub(super) offset: usize,
    /// What is wrong behind it.
    pub(super) detail: String,
}

/// Runs every whole batch of `journal` on `keyspace`. A file shorter than the header reads as length 0.
pub(super) fn replay(journal: &[u8], keyspace: &mut Keyspace) -> Result<Replayed, Damage> {
    if !journal.starts_with(HEADER) {
        if HEADER.starts_with(without_zeros(journal)) {
            return Ok(Replayed { len: 0, batches: 0 });
        }
        return Err(Damage { offset: 0, detail: "this is no journal of a known version".into() });
    }
    let mut at = HEADER.len();
    let mut batches = 0;
    let mut args = Args::default();
    while at < journal.len() {
        let rest = &journal[at..];
        let (commands, len) = match resp::read_batch(rest) {
            Ok(batch) => batch,
            Err(fault) => match damage(rest, fault) {
                None => break,
                Some(detail) => return Err(Damage { offset: at, detail: detail.into() }),
            },
        };
        for command in &commands {
            args.clear();
            for arg in command {
                args.push(arg);
            }
            if let Reply::Error(error) = execute(keyspace, &args) {
                let name = command[0].escape_ascii();
                return Err(Damage { offset: at, detail: format!("{name} cannot be repeated: {error}") });
            }
        }
        at += len;
        batches += 1;
    }
    Ok(Replayed { len: at, batches })
}

/// What is wrong with `rest`, which starts with no whole batch; `None` for a torn tail.
fn damage(rest: &[u8], fault: Fault) -> Option<&'static str> {
    // A power failure can leave the file longer than what was written; the gap reads as zeros.
    let written = without_zeros(rest);
    let fault = match resp::read_batch(written) {
        _ if written.is_empty() => Fault::Incomplete,
        Ok(_) => fault,
        Err(fault) => fault,
    };
    match fault {
        Fault::Invalid(detail) => Some(detail),
        // Were a length damaged, whole batches would follow.
        Fault::Incomplete => memchr::memmem::find_iter(rest, BEGIN)
            .skip_while(|&start| start == 0)
            .any(|start| resp::read_batch(&rest[start..]).is_ok())
            .then_some("a batch does not end, yet whole ones follow"),
    }
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1)]
}
