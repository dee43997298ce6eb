//! Thought signatures that verify themselves.
//!
//! A signature holds the maker, what was signed, a digest of the signed subject and a keyed digest
//! over all of it: any simulator, also one started later, can tell whether it was issued, for whom
//! and for what. It is 56 characters long, above the 50 a client takes for a valid one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::model::Maker;

/// Accepted on a Gemini function call in place of an issued signature (spec `conversion.md` §3.4.5).
pub(super) const SENTINEL: &str = "skip_thought_signature_validator";

const MAGIC: &[u8; 4] = b"sim1";
const SUBJECT: usize = 8;
const HEAD: usize = MAGIC.len() + 2 + SUBJECT;
const LENGTH: usize = HEAD + 26;
/// Not a secret: it only keeps accidental bytes from verifying.
const KEY: &[u8] = b"cloudcode-sim thought signature";

/// What a signature vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    /// A thought, by its whole text.
    Thought(&'a str),
    /// A function call, by the function's name.
    Call(&'a str),
    /// A final answer.
    Answer,
}

/// What [`verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Valid,
    NotIssued,
    OtherFamily,
    OtherSubject,
}

pub(super) fn issue(maker: Maker, subject: Subject<'_>) -> String {
    let mut bytes = head(maker, subject);
    let mac = mac(&bytes);
    bytes.extend_from_slice(&mac);
    STANDARD.encode(bytes)
}

pub(super) fn verify(maker: Maker, subject: Subject<'_>, signature: &str) -> Verdict {
    let Ok(bytes) = STANDARD.decode(signature) else { return Verdict::NotIssued };
    if bytes.len() != LENGTH || mac(&bytes[..HEAD]) != bytes[HEAD..] {
        return Verdict::NotIssued;
    }
    let wanted = head(maker, subject);
    if bytes[MAGIC.len()] != wanted[MAGIC.len()] {
        Verdict::OtherFamily
    } else if bytes[..HEAD] == wanted[..] {
        Verdict::Valid
    } else {
        Verdict::OtherSubject
    }
}

fn head(maker: Maker, subject: Subject<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.extend_from_slice(MAGIC);
    bytes.push(match maker {
        Maker::Claude => b'c',
        Maker::Gemini => b'g',
    });
    let (kind, text) = match subject {
        Subject::Thought(text) => (b't', text),
        Subject::Call(name) => (b'f', name),
        Subject::Answer => (b'a', ""),
    };
    bytes.push(kind);
    bytes.extend_from_slice(&Sha256::digest(text.as_bytes())[..SUBJECT]);
    bytes
}

fn mac(head: &[u8]) -> [u8; LENGTH - HEAD] {
    let digest = Sha256::new().chain_update(KEY).chain_update(head).finalize();
    let mut mac = [0; LENGTH - HEAD];
    mac.copy_from_slice(&digest[..LENGTH - HEAD]);
    mac
}

#[cfg(test)]
mod tests {
    use super::{Maker, Subject, Verdict, issue, verify};

    #[test]
    fn a_signature_fits_only_what_it_was_issued_for() {
        let thought = issue(Maker::Claude, Subject::Thought("hm"));
        assert!(thought.len() >= 50);
        for (maker, subject, verdict) in [
            (Maker::Claude, Subject::Thought("hm"), Verdict::Valid),
            (Maker::Claude, Subject::Thought("hm."), Verdict::OtherSubject),
            (Maker::Claude, Subject::Call("hm"), Verdict::OtherSubject),
            (Maker::Gemini, Subject::Thought("hm"), Verdict::OtherFamily),
        ] {
            assert_eq!(verify(maker, subject, &thought), verdict);
        }
        assert_eq!(verify(Maker::Claude, Subject::Answer, &"A".repeat(60)), Verdict::NotIssued);
        assert_eq!(verify(Maker::Claude, Subject::Answer, "not base64!"), Verdict::NotIssued);
    }
}
