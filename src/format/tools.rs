//! Tool declarations and the names under which the upstream knows the tools.
//!
//! Clients send the same tools with every request, so the converted declarations are kept by their raw bytes (spec
//! `conversion.md` §3.9, W11, W18, W44).

mod typed;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::anthropic::request::{KnownTools, RequestError, Tool, Tools};

use super::request::write_string;
use super::schema;

/// Longest tool name the upstream takes, in bytes.
const MAX_NAME: usize = 64;
/// `tools` of more bytes than this are converted anew each time instead of being kept.
const MAX_CACHED_BYTES: usize = 1 << 20;

/// Two-way map between the client's names and the upstream's.
#[derive(Clone, Debug, Default)]
struct Names {
    clean_of: HashMap<String, String>,
    raw_of: HashMap<String, String>,
}

impl Names {
    fn insert(&mut self, raw: &str, clean: String) {
        self.raw_of.insert(clean.clone(), raw.to_owned());
        self.clean_of.insert(raw.to_owned(), clean);
    }
}

/// What the upstream takes: `A-Z a-z 0-9 _ -`, at most 64, a letter or `_` in front. Counts UTF-16 units as the first
/// clients of this API did.
fn clean_name(raw: &str) -> Cow<'_, str> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let bad_start = raw.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if !bad_start && raw.len() <= MAX_NAME && raw.chars().all(good) {
        return Cow::Borrowed(raw);
    }
    let mut clean = String::with_capacity(MAX_NAME);
    if bad_start {
        clean.push('_');
    }
    for c in raw.chars() {
        if good(c) {
            clean.push(c);
        } else {
            clean.extend(std::iter::repeat_n('_', c.len_utf16()));
        }
    }
    clean.truncate(MAX_NAME);
    Cow::Owned(clean)
}

/// The clean name, with a hash of the raw one at its end when `taken`.
fn unique_name(raw: &str, taken: impl Fn(&str) -> bool) -> String {
    let clean = clean_name(raw).into_owned();
    if !clean.is_empty() && !taken(&clean) {
        return clean;
    }
    let mut salt = 0_u64;
    loop {
        let hash = xxh3_64(raw.as_bytes()).wrapping_add(salt) & 0xffff_ffff;
        let base = &clean[..clean.len().min(MAX_NAME - 9)];
        let candidate = format!("{base}_{hash:08x}");
        if !taken(&candidate) {
            return candidate;
        }
        salt += 1;
    }
}

/// One declaration on its way.
struct Declaration<'t> {
    raw: Cow<'t, str>,
    clean: String,
    /// Escaped.
    description: &'t str,
    parameters: Cow<'static, [u8]>,
}

impl<'t> Declaration<'t> {
    /// `None` for a tool that nobody can run here.
    fn of(tool: &'t Tool<'_>, index: usize) -> Option<Self> {
        let typed = match &tool.typed {
            Some(kind) => Some(typed::find(kind)?),
            None => None,
        };
        let own = tool.description.as_ref().map_or("", |text| text.raw());
        let (description, parameters) = match (typed, &tool.schema) {
            (Some(typed), _) => {
                let description = if own.is_empty() { typed.description } else { own };
                (description, Cow::Borrowed(typed.parameters.as_bytes()))
            }
            (None, Some(json)) => (own, Cow::Owned(schema::convert(json.raw()))),
            (None, None) => (own, Cow::Owned(schema::placeholder())),
        };
        let raw = match &tool.name {
            Some(name) => Cow::Borrowed(name.as_ref()),
            None => format!("tool-{index}").into(),
        };
        Some(Self { raw, clean: String::new(), description, parameters })
    }
}

/// A tool that the original API would run itself.
#[derive(Debug)]
pub(super) struct Skipped {
    /// Its place in `tools`.
    pub(super) index: usize,
    /// Its name, else its type.
    pub(super) name: String,
}

/// The converted form of one `tools` array.
#[derive(Debug, Default)]
pub struct Declared {
    /// The upstream's `tools` value; empty when no tool is left.
    pub(super) json: Bytes,
    /// Tools that the original API would run itself and that are left out.
    pub(super) skipped: Vec<Skipped>,
    names: Names,
}

impl Declared {
    /// Why a request with a tool that was left out is refused, where the operator wants that.
    pub(super) fn refusal(&self) -> Option<RequestError> {
        let Skipped { index, name } = self.skipped.first()?;
        Some(RequestError::new(format!(
            "tools.{index}: {name} runs on the original API's servers only; leave it out of the request \
             (operator: conversion.serverTools is refuse)"
        )))
    }

    /// Converts `tools`; every name gets its own clean form.
    pub(super) fn new(tools: &Tools<'_>) -> Self {
        let mut declared = Self::default();
        let list = tools.list();
        let mut kept: Vec<Declaration<'_>> = Vec::with_capacity(list.len());
        for (index, tool) in list.iter().enumerate() {
            if let Some(declaration) = Declaration::of(tool, index) {
                kept.push(declaration);
            } else {
                let name = tool.name.as_deref().or(tool.typed.as_deref()).unwrap_or_default().to_owned();
                declared.skipped.push(Skipped { index, name });
            }
        }
        // Names that need no change keep it, whatever the others turn into.
        for Declaration { raw, .. } in &kept {
            if let Cow::Borrowed(clean) = clean_name(raw)
                && !clean.is_empty()
                && !declared.names.raw_of.contains_key(clean)
            {
                declared.names.insert(raw, clean.to_owned());
            }
        }
        let mut used = HashSet::with_capacity(kept.len());
        for declaration in &mut kept {
            let raw = &declaration.raw;
            let clean = match declared.names.clean_of.get(raw.as_ref()) {
                Some(clean) if !used.contains(clean) => clean.clone(),
                _ => {
                    let clean = unique_name(raw, |name| declared.names.raw_of.contains_key(name));
                    declared.names.insert(raw, clean.clone());
                    clean
                }
            };
            used.insert(clean.clone());
            declaration.clean = clean;
        }
        if kept.is_empty() {
            return declared;
        }
        let mut out = Vec::with_capacity(tools.raw.len());
        out.extend_from_slice(b"[{\"functionDeclarations\":[");
        for (index, declaration) in kept.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"name\":");
            write_string(&mut out, &declaration.clean);
            out.extend_from_slice(b",\"description\":\"");
            out.extend_from_slice(declaration.description.as_bytes());
            out.extend_from_slice(b"\",\"parameters\":");
            out.extend_from_slice(&declaration.parameters);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}]");
        declared.json = out.into_boxed_slice().into();
        declared
    }
}

/// The names of one request's tools, declared or only found in its history: a bijection between the client's names and
/// the upstream's.
#[derive(Clone, Debug, Default)]
pub struct ToolNames {
    declared: Arc<Declared>,
    history: Names,
}

impl ToolNames {
    /// Starts from the declared tools and adds the names that only occur in the history.
    pub(super) fn new<'n>(declared: Arc<Declared>, history: impl Iterator<Item = Cow<'n, str>>) -> Self {
        let mut names = Self { declared, history: Names::default() };
        for raw in history {
            if names.find(&raw).is_none() {
                let clean = unique_name(&raw, |name| {
                    names.declared.names.raw_of.contains_key(name) || names.history.raw_of.contains_key(name)
                });
                names.history.insert(&raw, clean);
            }
        }
        names
    }

    fn find(&self, raw: &str) -> Option<&str> {
        let found = self.declared.names.clean_of.get(raw).or_else(|| self.history.clean_of.get(raw));
        found.map(String::as_str)
    }

    /// The upstream's name of a tool of this request; a name that is not part of it comes back unchanged.
    #[must_use]
    pub fn clean<'a>(&'a self, raw: &'a str) -> &'a str {
        self.find(raw).unwrap_or(raw)
    }

    /// The client's name of a tool that the upstream called; a name it made up comes back unchanged.
    #[must_use]
    pub fn raw<'a>(&'a self, clean: &'a str) -> &'a str {
        let names = &self.declared.names;
        names.raw_of.get(clean).or_else(|| self.history.raw_of.get(clean)).map_or(clean, String::as_str)
    }

    pub(super) fn declared(&self) -> &Declared {
        &self.declared
    }
}

struct Kept {
    number: u64,
    raw: Box<str>,
    declared: Arc<Declared>,
    used: AtomicU64,
}

/// Converted tool declarations by the bytes they were made of; the least recently used ones make room.
///
/// Bytes are compared and not hashed, so no client can slip its tools to another one by a collision.
pub struct ToolCache {
    capacity: usize,
    kept: RwLock<Vec<Kept>>,
    /// Counts uses, and gives what is kept its numbers.
    uses: AtomicU64,
}

impl ToolCache {
    /// A cache of at most `capacity` declarations; 0 keeps nothing.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, kept: RwLock::default(), uses: AtomicU64::new(0) }
    }

    /// How many declarations are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept().len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The converted form of `tools`, converted now if it is not known yet.
    pub(super) fn declared(&self, tools: &Tools<'_>) -> Arc<Declared> {
        let raw = tools.raw;
        if raw.len() > MAX_CACHED_BYTES || self.capacity == 0 {
            return Arc::new(Declared::new(tools));
        }
        let found = match tools.known {
            Some(number) => self.find(|kept| kept.number == number),
            None => self.find(|kept| *kept.raw == *raw),
        };
        if let Some(found) = found {
            return found;
        }
        // Converted outside of the lock: two requests may do the same work once, none waits for another.
        let declared = Arc::new(Declared::new(tools));
        let number = self.next_use();
        let kept = Kept { number, raw: raw.into(), declared: Arc::clone(&declared), used: number.into() };
        let mut all = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if all.iter().any(|one| one.raw == kept.raw) {
            return declared;
        }
        let oldest = all.iter().enumerate().min_by_key(|(_, kept)| kept.used.load(Ordering::Relaxed));
        match oldest {
            Some((oldest, _)) if all.len() >= self.capacity => all[oldest] = kept,
            _ => all.push(kept),
        }
        declared
    }

    fn find(&self, is: impl Fn(&Kept) -> bool) -> Option<Arc<Declared>> {
        let all = self.kept();
        let found = all.iter().find(|kept| is(kept))?;
        found.used.store(self.next_use(), Ordering::Relaxed);
        Some(Arc::clone(&found.declared))
    }

    fn next_use(&self) -> u64 {
        self.uses.fetch_add(1, Ordering::Relaxed)
    }

    fn kept(&self) -> RwLockReadGuard<'_, Vec<Kept>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownTools for ToolCache {
    fn front(&self, text: &str) -> Option<(u64, usize)> {
        /// Tools of one program share long beginnings, so their ends are compared first.
        const END: usize = 64;
        let is_front = |kept: &&Kept| {
            let raw = kept.raw.as_bytes();
            let ends = raw.len().saturating_sub(END)..raw.len();
            text.as_bytes().get(ends.clone()) == raw.get(ends) && text.as_bytes().starts_with(raw)
        };
        // A whole array cannot be the beginning of a longer one.
        self.kept().iter().find(is_front).map(|kept| (kept.number, kept.raw.len()))
    }
}

#[cfg(test)]
mod tests;

impl super::stream::OriginalNames for ToolNames {
    fn raw<'a>(&'a self, clean: &'a str) -> &'a str {
        ToolNames::raw(self, clean)
    }
}
