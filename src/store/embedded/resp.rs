//! The Redis protocol as a file format: commands, and batches of commands that count as a whole.
//!
//! A batch is `MULTI`, its commands, `ECHO <checksum>`, `EXEC`. `redis-cli --pipe` takes such a file
//! as it is; a batch cut anywhere is incomplete, and a changed byte does not match the checksum
//! (XXH3 of the commands' bytes, 16 hex digits).

use xxhash_rust::xxh3::xxh3_64;

use super::number::push_unsigned;

/// First bytes of a batch.
pub(super) const BEGIN: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const CHECK: &[u8] = b"*2\r\n$4\r\nECHO\r\n$16\r\n";
const END: &[u8] = b"\r\n*1\r\n$4\r\nEXEC\r\n";
/// Redis's own limit of one string.
const MAX_BULK: usize = 512 << 20;
/// More arguments than any command here writes.
const MAX_ARGS: usize = 1 << 20;

/// Appends the head of a command of `args` arguments, its name included.
pub(in crate::store) fn push_head(out: &mut Vec<u8>, args: usize) {
    out.push(b'*');
    push_unsigned(out, args as u64);
    out.extend_from_slice(b"\r\n");
}

/// Appends one argument.
pub(in crate::store) fn push_arg(out: &mut Vec<u8>, arg: &[u8]) {
    out.push(b'$');
    push_unsigned(out, arg.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(arg);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole command.
pub(in crate::store) fn push_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    push_head(out, args.len());
    for arg in args {
        push_arg(out, arg);
    }
}

/// Appends `commands` (already encoded) as one batch.
pub(super) fn push_batch(out: &mut Vec<u8>, commands: &[u8]) {
    out.reserve(commands.len() + 96);
    out.extend_from_slice(BEGIN);
    out.extend_from_slice(commands);
    out.extend_from_slice(CHECK);
    out.extend_from_slice(&checksum(commands));
    out.extend_from_slice(END);
}

fn checksum(commands: &[u8]) -> [u8; 16] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let sum = xxh3_64(commands).to_be_bytes();
    std::array::from_fn(|i| {
        let nibble = if i % 2 == 0 { sum[i / 2] >> 4 } else { sum[i / 2] & 15 };
        HEX[usize::from(nibble)]
    })
}

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// They end too early.
    Incomplete,
    /// They cannot become one, whatever follows.
    Invalid(&'static str),
}

/// One command: its arguments, name first.
pub(super) type Command<'a> = Vec<&'a [u8]>;

/// Reads the batch at the start of `bytes`; returns its commands and length.
pub(super) fn read_batch(bytes: &[u8]) -> Result<(Vec<Command<'_>>, usize), Fault> {
    expect(bytes, BEGIN)?;
    let mut at = BEGIN.len();
    let mut commands = Vec::new();
    loop {
        let (command, len) = read_command(&bytes[at..])?;
        match command.as_slice() {
            [name, sum] if *name == b"ECHO" => {
                if **sum != checksum(&bytes[BEGIN.len()..at]) {
                    return Err(Fault::Invalid("the checksum does not match"));
                }
                at += len - 2;
                expect(&bytes[at..], END)?;
                return Ok((commands, at + END.len()));
            }
            _ => commands.push(command),
        }
        at += len;
    }
}

/// Reads one command; returns it and its length.
pub(super) fn read_command(bytes: &[u8]) -> Result<(Command<'_>, usize), Fault> {
    let (count, mut at) = read_length(bytes, b'*', MAX_ARGS)?;
    if count == 0 {
        return Err(Fault::Invalid("an empty command"));
    }
    let mut args = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let (len, head) = read_length(&bytes[at..], b'$', MAX_BULK)?;
        at += head;
        let arg = bytes.get(at..at + len).ok_or(Fault::Incomplete)?;
        at += len;
        expect(&bytes[at..], b"\r\n")?;
        at += 2;
        args.push(arg);
    }
    Ok((args, at))
}

fn expect(bytes: &[u8], wanted: &[u8]) -> Result<(), Fault> {
    let len = bytes.len().min(wanted.len());
    if bytes[..len] != wanted[..len] {
        Err(Fault::Invalid("unexpected bytes"))
    } else if len < wanted.len() {
        Err(Fault::Incomplete)
    } else {
        Ok(())
    }
}

/// Reads `<kind><decimal>\r\n`; returns the number and the length of the line.
fn read_length(bytes: &[u8], kind: u8, max: usize) -> Result<(usize, usize), Fault> {
    const INVALID: Fault = Fault::Invalid("not a length");
    expect(bytes, &[kind])?;
    let mut value = 0_usize;
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None => return Err(Fault::Incomplete),
            Some(digit @ b'0'..=b'9') if at == 1 || value > 0 => {
                value = value * 10 + usize::from(digit - b'0');
            }
            Some(b'\r') if at > 1 => break,
            Some(_) => return Err(INVALID),
        }
        if value > max {
            return Err(Fault::Invalid("a length beyond the limit"));
        }
        at += 1;
    }
    expect(&bytes[at..], b"\r\n")?;
    Ok((value, at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Vec<u8> {
        let mut commands = Vec::new();
        push_command(&mut commands, &[b"SET", b"k", b"a\r\nb"]);
        push_command(&mut commands, &[b"DEL", b""]);
        let mut out = Vec::new();
        push_batch(&mut out, &commands);
        out
    }

    #[test]
    fn a_batch_reads_back() {
        let bytes = batch();
        let (commands, len) = read_batch(&bytes).unwrap();
        assert_eq!(len, bytes.len());
        let expected: Vec<Command<'_>> = vec![vec![b"SET", b"k", b"a\r\nb"], vec![b"DEL", b""]];
        assert_eq!(commands, expected);
    }

    #[test]
    fn every_cut_is_incomplete_and_every_flip_is_noticed() {
        let bytes = batch();
        for cut in 0..bytes.len() {
            assert_eq!(read_batch(&bytes[..cut]).unwrap_err(), Fault::Incomplete, "cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            assert!(read_batch(&flipped).is_err(), "flip at {cut}");
        }
    }
}
