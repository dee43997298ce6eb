//! What a model id tells: who made the model and how it thinks.
//!
//! Read here anew instead of shared with the gateway, so that a mistake there shows (spec
//! `conversion.md` §1.3).

/// Who made a model; signatures and key styles differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    Claude,
    Gemini,
}

/// The capabilities behind a model id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) maker: Maker,
    pub(super) thinking: bool,
    /// Gemini 3 and later want a signature on every function call of the history.
    pub(super) signed_calls: bool,
}

impl Model {
    pub(super) fn of(id: &str) -> Self {
        let id = id.to_ascii_lowercase();
        if id.contains("claude") {
            return Self { maker: Maker::Claude, thinking: id.contains("thinking"), signed_calls: false };
        }
        let major: u32 = id
            .split_once("gemini-")
            .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>())
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0);
        Self {
            maker: Maker::Gemini,
            thinking: major >= 3 || (id.contains("gemini") && id.contains("thinking")),
            signed_calls: major >= 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Maker, Model};

    #[test]
    fn ids_tell_maker_and_thinking() {
        for (id, maker, thinking, signed) in [
            ("claude-opus-4-6-thinking", Maker::Claude, true, false),
            ("claude-sonnet-4-6", Maker::Claude, false, false),
            ("gemini-3.1-pro-high", Maker::Gemini, true, true),
            ("gemini-3-flash", Maker::Gemini, true, true),
            ("gemini-2.5-flash", Maker::Gemini, false, false),
            ("gemini-2.5-flash-thinking", Maker::Gemini, true, false),
        ] {
            assert_eq!(Model::of(id), Model { maker, thinking, signed_calls: signed }, "{id}");
        }
    }
}
