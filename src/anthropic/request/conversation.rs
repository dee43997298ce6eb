//! Which conversation a request belongs to.

use xxhash_rust::xxh3::Xxh3;

use crate::anthropic::json::{JsonStr, Reader};

use super::{Block, Content, MessagesRequest, ResultContent, Role};

/// How the system block starts that tells the client's version; it changes with every release and says nothing to a
/// model.
const ATTRIBUTION: &str = "x-anthropic-billing-header:";

/// Longest session id that is used as it is, in bytes.
const MAX_SESSION_ID: usize = 128;

impl<'a> MessagesRequest<'a> {
    /// The key under which a conversation keeps its account: the session header, else the session id in
    /// `metadata.user_id`, else a hash of system prompt and first user message (`design.md` §4, Sticky).
    ///
    /// At most 128 characters of `A-Z a-z 0-9 . _ -`. Keys of different clients must be told apart by the caller.
    #[must_use]
    pub fn conversation_key(&self, session_header: Option<&str>) -> String {
        let header = session_header.map(str::trim).filter(|id| !id.is_empty());
        if let Some(id) = header {
            return session_key(id);
        }
        if let Some(id) = self.metadata_user_id.as_deref().and_then(session_of_user) {
            return session_key(&id);
        }
        let mut hash = Xxh3::new();
        for text in self.system_texts(false) {
            feed(&mut hash, 's', text);
        }
        if let Some(first) =
            self.messages.iter().find(|message| message.role == Role::User && !message.instruction)
        {
            match &first.content {
                Content::Text(text) => feed(&mut hash, 't', text),
                Content::Blocks(blocks) => {
                    for block in blocks {
                        match block {
                            Block::Text(text) => feed(&mut hash, 't', text),
                            Block::ToolResult(result) => {
                                if let ResultContent::Text(text) = &result.content {
                                    feed(&mut hash, 'r', text);
                                }
                            }
                            _ => hash.update(b"b"),
                        }
                    }
                }
            }
        }
        format!("h-{:032x}", hash.digest128())
    }

    /// The texts of the system prompt, without the client's attribution block unless `with_attribution`.
    pub fn system_texts(&self, with_attribution: bool) -> impl Iterator<Item = &JsonStr<'a>> {
        self.system.iter().filter(move |text| with_attribution || !is_attribution(text))
    }
}

/// Whether the text begins with the line that tells the client's version.
pub(super) fn is_attribution(text: &JsonStr<'_>) -> bool {
    text.raw().starts_with(ATTRIBUTION)
}

fn feed(hash: &mut Xxh3, tag: char, text: &JsonStr<'_>) {
    let raw = text.raw();
    hash.update(&[tag as u8]);
    hash.update(&raw.len().to_le_bytes());
    hash.update(raw.as_bytes());
}

/// The session id inside a `user_id`: a JSON object with `session_id`, or text ending in `_session_<id>`.
fn session_of_user(user_id: &str) -> Option<String> {
    let mut found = None;
    if user_id.trim_start().starts_with('{') {
        let mut reader = Reader::new(user_id.as_bytes()).ok()?;
        reader
            .object(|r, key| match key {
                "session_id" => {
                    found = r.optional(Reader::string)?.map(|id| id.decode().into_owned());
                    Ok(())
                }
                _ => r.skip(),
            })
            .ok()?;
    } else {
        found = user_id.rsplit_once("_session_").map(|(_, id)| id.to_owned());
    }
    found.filter(|id| !id.is_empty())
}

/// The key of the conversation that a client calls by this session id.
///
/// At most 128 characters of `A-Z a-z 0-9 . _ -`.
#[must_use]
pub fn session_key(id: &str) -> String {
    let id = id.trim();
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if id.len() <= MAX_SESSION_ID && id.bytes().all(safe) && !id.starts_with("h-") {
        return id.to_owned();
    }
    format!("h-{:032x}", xxhash_rust::xxh3::xxh3_128(id.as_bytes()))
}
