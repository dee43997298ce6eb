//! A script of the store and the header every script file carries.
//!
//! The header is the contract of a script; tests compare it with the wrapper that calls it. It is
//! the run of comment lines from `-- script:` on (shared pieces may precede it in the composed text):
//!
//! ```lua
//! -- script: renew_lease
//! -- purpose: keeps an admitted request's lease alive
//! -- KEYS[1] lease: ZSET of the account's live leases
//! -- KEYS[2..] dyn: one per account, in roster order
//! -- ARGV[1] lease_id: as admitted
//! -- ARGV[#] now: ms since the epoch, empty for the store's own time
//! -- reply: 1, or 0 when the lease is gone
//! -- complexity: O(log leases)
//! -- durability: periodic
//! ```
//!
//! `[n]` is a position, `[n..]` any number from there, `[#]` the last one. A line that starts with
//! three spaces or more after `--` continues the one above. `KEYS: none` and `ARGV: none` may be
//! written for completeness.

use std::sync::OnceLock;

use sha1_smol::Sha1;

/// When a call that wrote something is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the write is on disk (accounts, settings). On Redis, as far as its `appendfsync` goes.
    Fsync,
    /// At once; the write reaches the disk within a second (counters, leases, signatures). Calls of such scripts may
    /// be repeated after a lost reply: nothing counts twice.
    Periodic,
}

/// A Lua script, composed at compile time; never built at run time.
#[derive(Debug)]
pub struct Script {
    /// Its file's name without `.lua`.
    pub name: &'static str,
    /// The whole text: shared pieces, header, body.
    pub source: &'static str,
    /// When a call is acknowledged.
    pub durability: Durability,
    sha1: OnceLock<String>,
}

impl Script {
    /// A script whose calls are acknowledged at once.
    #[must_use]
    pub const fn periodic(name: &'static str, source: &'static str) -> Self {
        Self { name, source, durability: Durability::Periodic, sha1: OnceLock::new() }
    }

    /// A script whose calls are acknowledged after fsync.
    #[must_use]
    pub const fn fsync(name: &'static str, source: &'static str) -> Self {
        Self { name, source, durability: Durability::Fsync, sha1: OnceLock::new() }
    }

    /// SHA-1 of the source in lower-case hex: what `EVALSHA` calls it by, so that two versions of a script are two
    /// scripts.
    pub fn sha1(&self) -> &str {
        self.sha1.get_or_init(|| Sha1::from(self.source).digest().to_string())
    }

    /// The script's parsed header, checked against its name and durability.
    pub fn header(&self) -> Result<Header<'static>, HeaderError> {
        let header = Header::parse(self.source)?;
        if header.name != self.name {
            return Err(HeaderError::Mismatch {
                field: "script",
                header: header.name.into(),
                code: self.name.into(),
            });
        }
        if header.durability != self.durability {
            return Err(HeaderError::Mismatch {
                field: "durability",
                header: format!("{:?}", header.durability),
                code: format!("{:?}", self.durability),
            });
        }
        Ok(header)
    }
}

/// What a script's header declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'s> {
    /// `script:`, the file's name without `.lua`.
    pub name: &'s str,
    /// `purpose:`, one sentence or more.
    pub purpose: String,
    /// `KEYS[…]` in order.
    pub keys: Vec<Parameter<'s>>,
    /// `ARGV[…]` in order.
    pub args: Vec<Parameter<'s>>,
    /// `reply:`, the shape of the answer.
    pub reply: String,
    /// `complexity:`, the worst-case work.
    pub complexity: String,
    /// `durability:`, `fsync` or `periodic`.
    pub durability: Durability,
}

/// One declared key or argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'s> {
    /// Where it stands.
    pub position: Position,
    /// Its name.
    pub name: &'s str,
    /// What it holds.
    pub meaning: String,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// `[n]`, counted from 1.
    At(usize),
    /// `[n..]`: any number of them from `n` on.
    From(usize),
    /// `[#]`: the last one, after a run of any length.
    Last,
}

/// Why a header cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A required line is absent.
    #[error("the header has no `{0}:` line")]
    Missing(&'static str),
    /// A line cannot be read.
    #[error("header line `{line}`: {problem}")]
    Line {
        /// The line.
        line: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The header and the code that registers the script differ.
    #[error("`{field}` is {header} in the header and {code} in the code")]
    Mismatch {
        /// Which line.
        field: &'static str,
        /// Its value.
        header: String,
        /// What the code says.
        code: String,
    },
}

impl<'s> Header<'s> {
    /// Reads the header of `source`.
    pub fn parse(source: &'s str) -> Result<Self, HeaderError> {
        let mut name = None;
        let mut durability = None;
        let (mut purpose, mut reply, mut complexity) = (None, None, None);
        let (mut keys, mut args) = (Vec::new(), Vec::new());
        let lines = source
            .lines()
            .skip_while(|line| !line.starts_with("-- script:"))
            .map_while(|line| line.strip_prefix("--"));
        let mut open: Option<(&'s str, String)> = None;
        let mut close = |entry: Option<(&'s str, String)>| -> Result<(), HeaderError> {
            let Some((label, text)) = entry else { return Ok(()) };
            let text = text.trim().to_owned();
            match label {
                "purpose" => purpose = Some(text),
                "reply" => reply = Some(text),
                "complexity" => complexity = Some(text),
                "durability" => {
                    durability = Some(match text.as_str() {
                        "fsync" => Durability::Fsync,
                        "periodic" => Durability::Periodic,
                        _ => {
                            return Err(HeaderError::Line {
                                line: text,
                                problem: "durability is `fsync` or `periodic`",
                            });
                        }
                    });
                }
                "KEYS" | "ARGV" if text == "none" => {}
                _ if label.starts_with("KEYS[") => keys.push(Parameter::parse(label, text, keys.last())?),
                _ if label.starts_with("ARGV[") => args.push(Parameter::parse(label, text, args.last())?),
                _ => return Err(HeaderError::Line { line: label.into(), problem: "unknown label" }),
            }
            Ok(())
        };
        for line in lines {
            if line.starts_with("   ") || line.trim().is_empty() {
                if let Some((_, text)) = &mut open {
                    text.push(' ');
                    text.push_str(line.trim());
                }
                continue;
            }
            let (label, text) = line
                .trim()
                .split_once(':')
                .ok_or_else(|| HeaderError::Line { line: line.into(), problem: "expected `label: text`" })?;
            close(open.take())?;
            if label == "script" {
                name = Some(text.trim());
            } else {
                open = Some((label, text.to_owned()));
            }
        }
        close(open)?;
        Ok(Self {
            name: name.ok_or(HeaderError::Missing("script"))?,
            purpose: purpose.ok_or(HeaderError::Missing("purpose"))?,
            keys,
            args,
            reply: reply.ok_or(HeaderError::Missing("reply"))?,
            complexity: complexity.ok_or(HeaderError::Missing("complexity"))?,
            durability: durability.ok_or(HeaderError::Missing("durability"))?,
        })
    }

    /// Whether a call with so many keys and arguments fits the header.
    #[must_use]
    pub fn accepts(&self, keys: usize, args: usize) -> bool {
        fits(&self.keys, keys) && fits(&self.args, args)
    }
}

fn fits(parameters: &[Parameter<'_>], count: usize) -> bool {
    let fixed = parameters.iter().filter(|p| !matches!(p.position, Position::From(_))).count();
    if fixed == parameters.len() { count == fixed } else { count >= fixed }
}

impl<'s> Parameter<'s> {
    fn parse(label: &'s str, meaning: String, previous: Option<&Self>) -> Result<Self, HeaderError> {
        let wrong = |problem| HeaderError::Line { line: label.into(), problem };
        let (index, name) = label[5..].split_once(']').ok_or_else(|| wrong("no closing bracket"))?;
        let position = match index.strip_suffix("..") {
            _ if index == "#" => Position::Last,
            Some(from) => Position::From(from.parse().map_err(|_| wrong("not a number"))?),
            None => Position::At(index.parse().map_err(|_| wrong("not a number"))?),
        };
        let in_order = match (previous.map(|p| p.position), position) {
            (None, Position::At(n) | Position::From(n)) => n == 1,
            (Some(Position::At(before)), Position::At(n) | Position::From(n)) => n == before + 1,
            (Some(Position::From(_)) | None, Position::Last) => true,
            _ => false,
        };
        if !in_order {
            return Err(wrong("out of order"));
        }
        let name = name.trim();
        if name.is_empty() {
            return Err(wrong("no name"));
        }
        Ok(Self { position, name, meaning })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "local function lib() end\n\
        -- script: renew_lease\n\
        -- purpose: keeps a lease\n\
        --   alive\n\
        -- KEYS[1] lease: live leases\n\
        -- KEYS[2..] dyn: one per account\n\
        -- ARGV[1] id: lease id\n\
        -- ARGV[2] now: ms\n\
        -- reply: 1 or 0\n\
        -- complexity: O(1)\n\
        -- durability: periodic\n\
        return 1\n";

    #[test]
    fn header_is_read_behind_shared_pieces() {
        let header = Header::parse(SOURCE).unwrap();
        assert_eq!(header.name, "renew_lease");
        assert_eq!(header.purpose, "keeps a lease alive");
        assert_eq!(header.keys[1].position, Position::From(2));
        assert_eq!(header.args[1].name, "now");
        assert_eq!(header.durability, Durability::Periodic);
        assert!(header.accepts(1, 2) && header.accepts(9, 2));
        assert!(!header.accepts(0, 2) && !header.accepts(1, 3));
    }

    #[test]
    fn header_and_registration_must_agree() {
        assert!(Script::periodic("renew_lease", SOURCE).header().is_ok());
        assert!(Script::fsync("renew_lease", SOURCE).header().is_err());
        assert!(Script::periodic("other", SOURCE).header().is_err());
    }

    #[test]
    fn gaps_and_missing_lines_are_errors() {
        assert_eq!(Header::parse("return 1"), Err(HeaderError::Missing("script")));
        let gap = SOURCE.replace("ARGV[2]", "ARGV[3]");
        assert!(matches!(Header::parse(&gap), Err(HeaderError::Line { problem: "out of order", .. })));
    }
}
