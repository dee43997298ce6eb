//! Upstream model ids: family and thinking capability, both read off the name.
//!
//! Source: spec `conversion.md` §1.3.

use std::fmt;
use std::sync::Arc;

/// Who made the model behind an id; signatures of one family are refused by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// The id contains `claude`.
    Claude,
    /// The id contains `gemini` and not `claude`.
    Gemini,
    /// Anything else.
    Unknown,
}

impl Family {
    /// The name under which signatures are remembered: `claude`, `gemini` or `unknown`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Gemini => "gemini",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Family {
    type Err = std::convert::Infallible;

    /// Never fails: a name that is neither `claude` nor `gemini` is [`Family::Unknown`].
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name {
            "claude" => Self::Claude,
            "gemini" => Self::Gemini,
            _ => Self::Unknown,
        })
    }
}

/// An upstream model id with what its name tells. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ModelId {
    id: Arc<str>,
    family: Family,
    thinking: bool,
    gemini_version: Option<(u32, Option<u32>)>,
}

impl ModelId {
    /// Reads family and capability off `id`; the id itself is kept unchanged.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let lower = id.to_ascii_lowercase();
        let family = if lower.contains("claude") {
            Family::Claude
        } else if lower.contains("gemini") {
            Family::Gemini
        } else {
            Family::Unknown
        };
        let gemini_version = gemini_version(&lower);
        let thinking = match family {
            Family::Claude => lower.contains("thinking"),
            Family::Gemini => {
                lower.contains("thinking") || gemini_version.is_some_and(|(major, _)| major >= 3)
            }
            Family::Unknown => false,
        };
        Self { id: Arc::from(id), family, thinking, gemini_version }
    }

    /// The id as the upstream knows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.id
    }

    /// The family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether the upstream lets this model think.
    #[must_use]
    pub fn is_thinking(&self) -> bool {
        self.thinking
    }

    /// `(3, Some(1))` for `gemini-3.1-pro`, `(3, None)` for `gemini-3-flash`, `None` without digits after `gemini-`.
    #[must_use]
    pub fn gemini_version(&self) -> Option<(u32, Option<u32>)> {
        self.gemini_version
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelId({})", self.id)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

fn gemini_version(lower: &str) -> Option<(u32, Option<u32>)> {
    lower.match_indices("gemini-").find_map(|(at, prefix)| {
        let rest = &lower[at + prefix.len()..];
        let (major, rest) = leading_number(rest)?;
        let minor = rest.strip_prefix('.').and_then(leading_number).map(|(minor, _)| minor);
        Some((major, minor))
    })
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    Some((number, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::{Family, ModelId};

    #[test]
    fn family_and_thinking_follow_the_name() {
        for (id, family, thinking) in [
            ("claude-opus-4-6-thinking", Family::Claude, true),
            ("claude-sonnet-4-6", Family::Claude, false),
            ("gemini-3-flash", Family::Gemini, true),
            ("gemini-3.1-pro-low", Family::Gemini, true),
            ("gemini-10-x", Family::Gemini, true),
            ("gemini-2.5-flash", Family::Gemini, false),
            ("gemini-2.5-flash-thinking", Family::Gemini, true),
            ("gemini-pro-agent", Family::Gemini, false),
            ("gpt-oss-120b", Family::Unknown, false),
            ("gpt-x-thinking", Family::Unknown, false),
        ] {
            let model = ModelId::new(id);
            assert_eq!((model.family(), model.is_thinking()), (family, thinking), "{id}");
        }
    }

    #[test]
    fn versions() {
        assert_eq!(ModelId::new("gemini-2.5-flash").gemini_version(), Some((2, Some(5))));
        assert_eq!(ModelId::new("Gemini-3-Flash").gemini_version(), Some((3, None)));
        assert_eq!(ModelId::new("gemini-pro-agent").gemini_version(), None);
    }
}
