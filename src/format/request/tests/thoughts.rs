//! Thoughts and signatures across models and turns.

use serde_json::{Value, json};

use super::super::super::signatures::{MAX_WANTED, WANTED_STEP};
use super::super::super::{Options, ToolCache, signatures_wanted};
use super::super::convert;
use super::pairing::{assistant, call, result, shape, turns, user};
use super::*;

fn thinking(signature: &str) -> Value {
    json!({"type": "thinking", "thinking": "hm", "signature": signature})
}

/// The tool loop of spec `conversion.md` §5.8, as it should be (§13.2).
#[test]
fn recovery_follows_what_survives() {
    let long_own =
        json!({"type": "tool_use", "id": "a", "name": "f", "input": {}, "thoughtSignature": "SIG_U"});
    for (first, calls, gemini, claude) in [
        (None, call("a"), true, false),
        (None, call("toolu_B"), false, false),
        (None, long_own, false, true),
        (Some(thinking("")), call("a"), true, true),
        (Some(thinking("SIG_G")), call("a"), false, true),
        (Some(thinking("SIG_C")), call("a"), true, false),
        (Some(thinking("SIG_U")), call("a"), true, true),
        (Some(json!({"type": "redacted_thinking", "data": "z"})), call("a"), true, true),
    ] {
        let id = calls["id"].as_str().unwrap().to_owned();
        let mut blocks: Vec<Value> = first.into_iter().collect();
        blocks.push(json!({"type": "text", "text": "t"}));
        blocks.push(calls);
        let messages = [user(json!("q")), assistant(json!(blocks)), user(json!([result(&id, json!("r"))]))];
        for (model, recovers) in [("gemini-3-pro", gemini), ("claude-opus-4-6-thinking", claude)] {
            let shape = shape(&turns(&messages, model));
            assert_eq!(shape.len(), if recovers { 5 } else { 3 }, "{model} {blocks:?} {shape:?}");
            if recovers {
                assert_eq!(shape[3..], ["model: text [Tool execution completed.]", "user: text [Continue]"]);
            }
        }
        for model in ["gemini-2.5-flash", "claude-sonnet-4-6", "gpt-oss-120b"] {
            assert_eq!(shape(&turns(&messages, model)).len(), 3, "{model}");
        }
    }
}

#[test]
fn several_answering_messages_are_counted() {
    let messages = [
        user(json!("q")),
        assistant(json!([call("a"), call("b")])),
        user(json!([result("a", json!("1"))])),
        user(json!([result("b", json!("2"))])),
    ];
    assert_eq!(shape(&turns(&messages, "gemini-3-pro"))[3], "model: text [2 tool executions completed.]");
}

#[test]
fn no_foreign_or_unknown_signature_is_sent() {
    let messages = [
        user(json!("q")),
        assistant(
            json!([thinking("SIG_C"), thinking("SIG_G"), thinking("SIG_U"), {"type": "text", "text": "t"}]),
        ),
    ];
    for (model, want) in [
        ("claude-sonnet-4-6", Some("SIG_C")),
        ("gemini-3-pro", Some("SIG_G")),
        ("gpt-oss-120b", Some("SIG_U")),
    ] {
        let got = turns(&messages, model);
        let sent: Vec<String> = got[1]["parts"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|part| Some(part.get("thoughtSignature")?.as_str()?.to_owned()))
            .collect();
        assert_eq!(sent, want.map(signature).into_iter().collect::<Vec<_>>(), "{model}");
    }
    // A call whose signature is known to be another family's gets none of its own either.
    let body = json!({"messages": [assistant(json!([{"type": "tool_use", "id": "c1", "name": "f", "thoughtSignature": signature("SIG_C")}]))]}).to_string();
    let request = MessagesRequest::parse(body.as_bytes()).unwrap();
    let mut known = known();
    known.insert(
        &SignatureKey::Tool("c1"),
        Remembered { family: Family::Claude, signature: Some(signature("SIG_C")) },
    );
    let converted =
        convert(&request, &ModelId::new("gemini-3-pro"), &known, &Options::default(), &ToolCache::new(0))
            .unwrap();
    let part = &envelope(&converted)["request"]["contents"][1]["parts"][0];
    assert_eq!(part["thoughtSignature"], "skip_thought_signature_validator");
}

#[test]
fn order_of_assistant_blocks() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let messages =
        [user(json!("q")), assistant(json!([thinking("SIG_C"), text("x"), thinking("SIG_C"), text("y")]))];
    let body = spelled_out(&json!({"messages": messages}).to_string());
    for (always, want) in [
        (true, "model: thought hm | thought hm | text x | text y"),
        (false, "model: thought hm | text x | thought hm | text y"),
    ] {
        let options = Options { reorder_always: always, ..Options::default() };
        let got = converted(&body, "claude-sonnet-4-6", &options);
        assert_eq!(shape(&envelope(&got)["request"]["contents"])[1], want);
    }
    let messages = [assistant(json!([call("a"), text("x"), thinking("SIG_C"), text(" "), call("b")]))];
    for always in [true, false] {
        let options = Options { reorder_always: always, ..Options::default() };
        let got = converted(
            &spelled_out(&json!({"messages": messages}).to_string()),
            "claude-sonnet-4-6",
            &options,
        );
        assert_eq!(
            shape(&envelope(&got)["request"]["contents"])[1],
            "model: thought hm | text x | call a | call b"
        );
    }
}

#[test]
fn wanted_signatures_are_newest_first_and_distinct() {
    let body = spelled_out(
        &json!({"messages": [
            assistant(json!([thinking("SIG_C"), call("a")])), user(json!([result("a", json!(""))])),
            assistant(json!([thinking("SIG_G"), thinking("short"), call("b"), call("a")])), user(json!("x")),
        ]})
        .to_string(),
    );
    let request = MessagesRequest::parse(body.as_bytes()).unwrap();
    let (c, g) = (signature("SIG_C"), signature("SIG_G"));
    let claude = signatures_wanted(&request, &ModelId::new("claude-sonnet-4-6"));
    assert_eq!(claude, [SignatureKey::Thinking(&g), SignatureKey::Thinking(&c)]);
    let gemini = signatures_wanted(&request, &ModelId::new("gemini-3-pro"));
    assert_eq!(
        gemini,
        [
            SignatureKey::Tool("a"),
            SignatureKey::Tool("b"),
            SignatureKey::Thinking(&g),
            SignatureKey::Thinking(&c)
        ]
    );
    for remembered in [
        Remembered { family: Family::Gemini, signature: Some("a:b".to_owned()) },
        Remembered { family: Family::Claude, signature: None },
    ] {
        assert_eq!(Remembered::decode(&remembered.encode()), remembered);
    }
}

/// A client that drops its thoughts, as Claude Code does to repair a refused request, in the middle of a tool loop.
#[test]
fn a_loop_whose_thoughts_the_client_dropped_is_closed_when_it_is_known() {
    let messages = [user(json!("q")), assistant(json!([call("a")])), user(json!([result("a", json!("r"))]))];
    let body = json!({"messages": messages}).to_string();
    let request = MessagesRequest::parse(body.as_bytes()).unwrap();
    let model = ModelId::new("claude-opus-4-6-thinking");
    assert_eq!(signatures_wanted(&request, &model), [SignatureKey::Tool("a")]);
    let mut known = KnownSignatures::new();
    let recovered = |known: &KnownSignatures| {
        let converted = convert(&request, &model, known, &Options::default(), &ToolCache::new(0)).unwrap();
        converted.warnings.contains(&Warning::Recovered(Recovery::ToolLoop))
    };
    assert!(!recovered(&known));
    known.insert(&SignatureKey::Tool("a"), Remembered { family: Family::Claude, signature: None });
    assert!(recovered(&known));
}

#[test]
fn a_turn_that_is_only_a_thought_is_filled_up_for_claude() {
    let messages = [user(json!("q")), assistant(json!([thinking("SIG_C")])), user(json!("go on"))];
    assert_eq!(shape(&turns(&messages, "claude-opus-4-6-thinking"))[1], "model: thought hm | text .");
    let bare = json!({"type": "thinking", "signature": "SIG_G"});
    let messages = [user(json!("q")), assistant(json!([bare])), user(json!("go on"))];
    assert_eq!(shape(&turns(&messages, "gemini-3-pro"))[1], "model: thought ");
}

/// The oldest are left out many at a time, so that the body's front changes once in many turns.
#[test]
fn a_long_conversation_asks_for_its_newest_signatures() {
    let messages: Vec<Value> = (0..2_100)
        .flat_map(|at| {
            let thought = json!({"type": "thinking", "thinking": "t", "signature": format!("{at:060}")});
            [assistant(json!([thought])), user(json!("next"))]
        })
        .collect();
    let body = json!({"messages": messages}).to_string();
    let mut request = MessagesRequest::parse(body.as_bytes()).unwrap();
    let number = |key: &SignatureKey<'_>| match key {
        SignatureKey::Thinking(text) => text.parse::<usize>().unwrap(),
        SignatureKey::Tool(_) => panic!(),
    };
    let mut oldest = |turns: usize| {
        request.messages.truncate(2 * turns);
        let wanted = signatures_wanted(&request, &ModelId::new("claude-sonnet-4-6"));
        assert_eq!(number(&wanted[0]), turns - 1, "newest first");
        assert!(wanted.len() <= MAX_WANTED && wanted.len() > MAX_WANTED - WANTED_STEP);
        wanted.iter().map(number).min().unwrap()
    };
    let oldest_of: Vec<usize> = (1_900..2_100).rev().map(&mut oldest).collect();
    let changes = oldest_of.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes <= 1, "{oldest_of:?}");
    assert_eq!(oldest(MAX_WANTED), 0);
}
