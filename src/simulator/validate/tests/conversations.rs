//! Conversations as clients hold them, converted by the gateway: none is refused, and no signature that is still good
//! gets lost (spec `conversion.md` §13.2).

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CLAUDE, GEMINI, PLAIN_CLAUDE};
use crate::anthropic::request::MessagesRequest;
use crate::format::request::{SKIP_SIGNATURE, Warning, convert};
use crate::format::{KnownSignatures, Options, Remembered, SignatureKey, ToolCache, signatures_wanted};
use crate::google::model::{Family, ModelId};
use crate::simulator::brain::{NO_THOUGHT_BEFORE_CALL, THOUGHT_BEFORE_CALL};
use crate::simulator::model::{Maker, Model};
use crate::simulator::signature::{Subject, issue};
use crate::simulator::validate::generate;

const MODELS: [&str; 4] = [CLAUDE, PLAIN_CLAUDE, GEMINI, "gemini-2.5-flash"];

/// One answer of a model and what followed it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is thrown by itself")]
struct Step {
    model: &'static str,
    thinks: bool,
    text: bool,
    calls: usize,
    /// Blocks of the original API, and an image that the model drew.
    extras: bool,
    /// Only this many of the calls are answered.
    answered: usize,
    /// Each result comes in a message of its own.
    split: bool,
    /// What the user says behind the results; always something when there are none.
    says: Option<&'static str>,
    /// A `system` message in between.
    instructed: bool,
}

/// What a client leaves of the thoughts it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    All,
    /// Fields it does not know are gone: the signatures of calls.
    Blocks,
    /// No signature at all.
    NoSignatures,
    /// No thinking block at all.
    NoThoughts,
}

#[derive(Clone, Debug)]
struct Plan {
    steps: Vec<Step>,
    keeps: Keeps,
    /// Signatures of answers before this one are forgotten.
    forgotten: usize,
    /// Messages before this one are replaced by a summary.
    compacted: usize,
    /// The client begins the next answer.
    prefilled: bool,
    /// Other services gave the same ids again and again.
    own_ids: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let says = prop::option::of(prop::sample::select(vec!["go on", "stop", " \n", ""]));
    let flags =
        (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), any::<bool>(), prop::bool::weighted(0.2));
    let model = prop_oneof![3 => Just(CLAUDE), 1 => Just(PLAIN_CLAUDE), 2 => Just(GEMINI), 1 => Just("gemini-2.5-flash")];
    (model, 0..4_usize, 0..4_usize, says, flags).prop_map(
        |(model, calls, answered, says, (thinks, text, extras, split, instructed))| Step {
            model,
            thinks: thinks && Model::of(model).thinking,
            text,
            calls,
            extras,
            // Mostly all of them.
            answered: if answered == 3 { answered } else { calls },
            split,
            says,
            instructed,
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let keeps = prop::sample::select(vec![Keeps::All, Keeps::Blocks, Keeps::NoSignatures, Keeps::NoThoughts]);
    let forgotten = prop_oneof![2 => Just(0_usize), 1 => Just(99), 1 => 0..6_usize];
    let compacted = prop_oneof![3 => Just(0_usize), 1 => 0..8_usize];
    let rare = || prop::bool::weighted(0.2);
    (prop::collection::vec(step(), 0..7), keeps, forgotten, compacted, rare(), rare()).prop_map(
        |(steps, keeps, forgotten, compacted, prefilled, own_ids)| Plan {
            steps,
            keeps,
            forgotten,
            compacted,
            prefilled,
            own_ids,
        },
    )
}

/// The messages of a plan and what the gateway still knows of their signatures.
struct Held {
    messages: Vec<Value>,
    known: Vec<(bool, String, Remembered)>,
}

impl Held {
    fn new(plan: &Plan) -> Self {
        let mut held = Self { messages: vec![json!({"role": "user", "content": "q"})], known: Vec::new() };
        for (at, step) in plan.steps.iter().enumerate() {
            held.answer(at, step, plan);
        }
        if plan.compacted > 0 {
            let at = plan.compacted.min(held.messages.len());
            let rest = held.messages.split_off(at);
            held.messages = vec![json!({"role": "user", "content": "This is what happened so far: …"})];
            held.messages.extend(rest);
        }
        if plan.prefilled {
            held.messages.push(json!({"role": "assistant", "content": "{ "}));
        }
        held
    }

    fn learn(&mut self, remembered: bool, thought: bool, key: &str, value: Remembered) {
        if remembered {
            self.known.push((thought, key.to_owned(), value));
        }
    }

    fn answer(&mut self, at: usize, step: &Step, plan: &Plan) {
        let model = Model::of(step.model);
        let remembered = at >= plan.forgotten;
        let mut blocks = Vec::new();
        if step.thinks {
            let thought = format!("thought {at}");
            let mut signature = String::new();
            if model.maker == Maker::Claude {
                signature = issue(Maker::Claude, Subject::Thought(&thought));
                let value = Remembered { family: Family::Claude, signature: None };
                self.learn(remembered, true, &signature, value);
            }
            if plan.keeps == Keeps::NoSignatures {
                signature.clear();
            }
            if plan.keeps != Keeps::NoThoughts {
                blocks.push(json!({"type": "thinking", "thinking": thought, "signature": signature}));
            }
        }
        if step.text {
            blocks.push(json!({"type": "text", "text": format!("text {at}")}));
        }
        if step.extras {
            blocks.push(json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}));
            blocks.push(json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
                {"type": "web_search_result", "url": "https://x/", "title": "X", "encrypted_content": "AAAA"}]}));
            blocks.push(json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}));
            blocks.push(json!({"type": "redacted_thinking", "data": "AAAA"}));
        }
        let mut results = Vec::new();
        for call in 0..step.calls {
            // Where neither the client nor the gateway knows of the thoughts any more, nobody can tell the
            // conversation from one that never had any, and the upstream takes those.
            let given = step.thinks && (remembered || plan.keeps != Keeps::NoThoughts);
            let id = match model.maker {
                _ if plan.own_ids && !given => format!("functions.f:{call}"),
                Maker::Claude if given => format!("{THOUGHT_BEFORE_CALL}{at}x{call}"),
                Maker::Claude => format!("{NO_THOUGHT_BEFORE_CALL}{at}x{call}"),
                Maker::Gemini => format!("toolu_{at}x{call}"),
            };
            let mut block = json!({"type": "tool_use", "id": id, "name": "f", "input": {"a": "x"}});
            if model.maker == Maker::Gemini && model.thinking && call == 0 && !plan.own_ids {
                let signature = issue(Maker::Gemini, Subject::Call("f"));
                if plan.keeps == Keeps::All {
                    block["thoughtSignature"] = json!(signature);
                }
                let value = Remembered { family: Family::Gemini, signature: Some(signature) };
                self.learn(remembered, false, &id, value);
            } else if model.maker == Maker::Claude && given {
                let value = Remembered { family: Family::Claude, signature: None };
                self.learn(remembered, false, &id, value);
            }
            blocks.push(block);
            if call < step.answered {
                results.push(
                    json!({"type": "tool_result", "tool_use_id": id, "content": "r", "is_error": call == 1}),
                );
            }
        }
        self.messages.push(json!({"role": "assistant", "content": blocks}));
        if step.instructed {
            self.messages.push(json!({"role": "system", "content": "mind this"}));
        }
        if step.split {
            self.messages
                .extend(results.drain(..).map(|result| json!({"role": "user", "content": [result]})));
        }
        if let Some(text) = step.says.or((step.calls == 0).then_some("next")) {
            results.push(json!({"type": "text", "text": text}));
        }
        self.messages.push(json!({"role": "user", "content": results}));
    }

    /// What the store answers to what the conversion asks for.
    fn recall(&self, request: &MessagesRequest<'_>, model: &ModelId) -> KnownSignatures {
        let mut known = KnownSignatures::new();
        for key in signatures_wanted(request, model) {
            let (thought, text) = match key {
                SignatureKey::Thinking(text) => (true, text),
                SignatureKey::Tool(text) => (false, text),
            };
            let found = self.known.iter().find(|(kind, name, _)| *kind == thought && name == text);
            if let Some((_, _, value)) = found {
                known.insert(&key, value.clone());
            }
        }
        known
    }

    fn remembers(&self, thought: bool, key: &str, family: Family) -> Option<&Remembered> {
        let found = self.known.iter().find(|(kind, name, _)| *kind == thought && name == key);
        found.map(|(_, _, value)| value).filter(|value| value.family == family)
    }

    fn blocks(&self) -> impl Iterator<Item = &Value> {
        self.messages.iter().filter_map(|message| message["content"].as_array()).flatten()
    }

    /// Text and signature of every thought that `family` still takes.
    fn good_thoughts(&self, family: Family) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.blocks()
            .filter(|block| block["type"] == "thinking")
            .map(|block| (text(&block["thinking"]), text(&block["signature"])))
            .filter(|(_, signature)| self.remembers(true, signature, family).is_some())
            .collect()
    }

    /// The signature of every call that Gemini still takes; `None` for a call without one.
    fn call_signatures(&self) -> Vec<Option<String>> {
        self.blocks()
            .filter(|block| block["type"] == "tool_use")
            .map(|block| {
                let own = block["thoughtSignature"].as_str().map(str::to_owned);
                let id = block["id"].as_str().unwrap();
                own.or_else(|| self.remembers(false, id, Family::Gemini)?.signature.clone())
            })
            .collect()
    }
}

/// The body for a model, and whether a lost tool loop was closed at its end.
fn converted(held: &Held, name: &str, options: &Options) -> (Value, bool) {
    let body = json!({
        "max_tokens": 32_000,
        "thinking": {"type": if options.honour_disabled_thinking { "disabled" } else { "adaptive" }},
        "temperature": 0.5,
        "messages": held.messages,
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}],
    })
    .to_string();
    let request = MessagesRequest::parse(body.as_bytes()).unwrap();
    let model = ModelId::new(name);
    let known = held.recall(&request, &model);
    let converted = convert(&request, &model, &known, options, &ToolCache::new(1)).unwrap();
    let recovered = converted.warnings.iter().any(|warning| matches!(warning, Warning::Recovered(_)));
    (serde_json::from_slice(&converted.body.render("p", "s", "agent-1").concat()).unwrap(), recovered)
}

fn model_parts(body: &Value) -> impl Iterator<Item = &Value> {
    let contents = body["request"]["contents"].as_array().unwrap();
    contents.iter().filter(|turn| turn["role"] == "model").flat_map(|turn| turn["parts"].as_array().unwrap())
}

proptest! {
    // Many plans lead to the same few conversations.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 8))]

    #[test]
    fn a_clients_history_is_taken_and_keeps_its_signatures(
        plan in plan(), reorder_always in any::<bool>(), disabled in any::<bool>(),
    ) {
        let held = Held::new(&plan);
        let options = Options { reorder_always, honour_disabled_thinking: disabled, ..Options::default() };
        for name in MODELS {
            let (sent, _) = converted(&held, name, &options);
            let family = ModelId::new(name).family();
            if let Err(refusal) = generate(&sent, Model::of(name), &["p"]) {
                prop_assert!(false, "{name}: {}\n{:?}\n{}", refusal.message(), held.messages, sent);
            }
            let thoughts: Vec<(String, String)> = model_parts(&sent)
                .filter(|part| part.get("thought").is_some())
                .map(|part| (part["text"].as_str().unwrap().to_owned(), part["thoughtSignature"].as_str().unwrap().to_owned()))
                .collect();
            prop_assert_eq!(thoughts, held.good_thoughts(family), "{}", name);
            if family == Family::Gemini {
                let calls: Vec<Option<String>> = model_parts(&sent)
                    .filter(|part| part.get("functionCall").is_some())
                    .map(|part| part["thoughtSignature"].as_str().filter(|text| *text != SKIP_SIGNATURE).map(str::to_owned))
                    .collect();
                prop_assert_eq!(calls, held.call_signatures(), "{}", name);
            }
        }
    }
}

proptest! {
    /// What the upstream has cached of a conversation stays good when it goes on (W23).
    #[test]
    fn a_growing_conversation_keeps_its_front(plan in plan()) {
        let grown = Plan { prefilled: false, compacted: 0, ..plan };
        for name in MODELS {
            let mut before: Vec<Value> = Vec::new();
            for steps in 0..=grown.steps.len() {
                let held = Held::new(&Plan { steps: grown.steps[..steps].to_vec(), ..grown.clone() });
                let (sent, recovered) = converted(&held, name, &Options::default());
                let mut turns = sent["request"]["contents"].as_array().unwrap().clone();
                prop_assert!(turns.starts_with(&before), "{name}: {before:?}\n{turns:?}");
                if recovered {
                    // The end that closes a lost loop is made anew each time, and may split the turn before.
                    turns.truncate(turns.len() - 3);
                }
                before = turns;
            }
        }
    }
}
