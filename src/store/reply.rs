//! Strict reading of the flat arrays that scripts answer with.

use std::time::Duration;

use super::host::{Reply, StoreError};
use super::ident::{AccountId, Stamp};
use super::script::Script;

/// The items of one reply, taken in order; what is missing, of the wrong type or left over is an error.
#[derive(Debug)]
pub(super) struct Fields {
    script: &'static Script,
    items: std::vec::IntoIter<Reply>,
}

impl Fields {
    pub(super) fn new(script: &'static Script, reply: Reply) -> Result<Self, StoreError> {
        match reply.ok(script)? {
            Reply::Array(items) => Ok(Self { script, items: items.into_iter() }),
            other => Err(StoreError::bad_reply(script, "an array", &other)),
        }
    }

    fn take<T>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(&Reply) -> Option<T>,
    ) -> Result<T, StoreError> {
        let item = self.items.next().unwrap_or(Reply::Nil);
        read(&item).ok_or_else(|| StoreError::bad_reply(self.script, expected, &item))
    }

    /// The leading code, and the stamp behind it.
    pub(super) fn head(&mut self) -> Result<(String, Stamp), StoreError> {
        let code = self.text("a code")?;
        Ok((code, Stamp { seq: self.number("seq")?, now_ms: self.number("now")? }))
    }

    pub(super) fn text(&mut self, expected: &'static str) -> Result<String, StoreError> {
        self.take(expected, |item| item.as_str().map(str::to_owned))
    }

    /// Text, `None` when empty.
    pub(super) fn optional(&mut self, expected: &'static str) -> Result<Option<String>, StoreError> {
        Ok(Some(self.text(expected)?).filter(|text| !text.is_empty()))
    }

    pub(super) fn number<T: TryFrom<i64>>(&mut self, expected: &'static str) -> Result<T, StoreError> {
        self.take(expected, |item| item.as_int().and_then(|number| T::try_from(number).ok()))
    }

    /// A number, `None` when the text is empty.
    pub(super) fn optional_number<T: TryFrom<i64>>(
        &mut self,
        expected: &'static str,
    ) -> Result<Option<T>, StoreError> {
        self.take(expected, |item| match item.as_bytes() {
            Some([]) => Some(None),
            _ => item.as_int().and_then(|number| T::try_from(number).ok()).map(Some),
        })
    }

    pub(super) fn float(&mut self, expected: &'static str) -> Result<f64, StoreError> {
        self.take(expected, |item| item.as_float().filter(|number| number.is_finite()))
    }

    pub(super) fn flag(&mut self, expected: &'static str) -> Result<bool, StoreError> {
        self.take(expected, |item| match item.as_int() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        })
    }

    pub(super) fn millis(&mut self, expected: &'static str) -> Result<Duration, StoreError> {
        self.number(expected).map(Duration::from_millis)
    }

    pub(super) fn account(&mut self) -> Result<AccountId, StoreError> {
        self.take("an account id", |item| AccountId::new(item.as_str()?).ok())
    }

    /// Text that `read` understands.
    pub(super) fn parsed<T>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        self.take(expected, |item| item.as_str().and_then(read))
    }

    pub(super) fn left(&self) -> usize {
        self.items.len()
    }

    /// Nothing may be left over.
    pub(super) fn end(mut self) -> Result<(), StoreError> {
        match self.items.next() {
            None => Ok(()),
            Some(item) => Err(StoreError::bad_reply(self.script, "the end of the reply", &item)),
        }
    }

    /// The code is none that the script documents.
    pub(super) fn unknown(&self, code: &str) -> StoreError {
        StoreError::bad_reply(self.script, "a documented code", &Reply::Status(code.to_owned()))
    }
}

/// Refuses text that would break a packed record: control characters, or more than 4 kB.
pub(super) fn plain<'a>(
    script: &'static Script,
    field: &'static str,
    text: &'a str,
) -> Result<&'a str, StoreError> {
    if text.len() > 4096 || text.chars().any(char::is_control) {
        return Err(StoreError::BadArgument {
            script: script.name,
            field,
            problem: "control characters or over 4 kB",
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    static SCRIPT: Script = Script::periodic("sample", "");

    fn fields(items: Vec<Reply>) -> Fields {
        Fields::new(&SCRIPT, Reply::Array(items)).unwrap()
    }

    #[test]
    fn nonsense_is_a_bad_reply() {
        let bad = |result: Result<(), StoreError>| matches!(result, Err(StoreError::BadReply { .. }));
        assert!(bad(Fields::new(&SCRIPT, Reply::Int(1)).map(|_| ())));
        assert!(bad(fields(vec![]).head().map(|_| ())));
        assert!(bad(fields(vec![Reply::Int(-1)]).number::<u64>("n").map(|_| ())));
        assert!(bad(fields(vec![Reply::Int(2)]).flag("f").map(|_| ())));
        assert!(bad(fields(vec![Reply::Bulk("nan".into())]).float("x").map(|_| ())));
        assert!(bad(fields(vec![Reply::Bulk("a/b".into())]).account().map(|_| ())));
        assert!(bad(fields(vec![Reply::Int(1)]).end()));
        assert!(fields(vec![]).end().is_ok());
    }
}
