//! The conversation: roles, parts, pairing of calls and results, signatures.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::brain::THOUGHT_BEFORE_CALL;
use super::super::model::{Maker, Model};
use super::super::signature::{SENTINEL, Subject, Verdict, verify};
use super::{Check, Node, tools};

const PART_FIELDS: [&str; 7] =
    ["text", "thought", "thoughtSignature", "functionCall", "functionResponse", "inlineData", "fileData"];
const PAYLOADS: [&str; 5] = ["text", "functionCall", "functionResponse", "inlineData", "fileData"];
const CLAUDE_MEDIA: [&str; 5] = ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"];

/// Checks `systemInstruction`: text only, none of it blank.
pub(super) fn system(node: &Node<'_>) -> Check {
    node.object(&["parts"], &["role"])?;
    if let Some(role) = node.field("role")
        && role.string()? != "user"
    {
        return role.refuse("must be \"user\"");
    }
    for part in node.known("parts")?.elements()? {
        part.object(&["text"], &[])?;
        written(&part.known("text")?)?;
    }
    Ok(())
}

/// A text that is not blank.
fn written(text: &Node<'_>) -> Check {
    if text.filled()?.trim().is_empty() {
        return text.refuse("text content blocks must contain non-whitespace text");
    }
    Ok(())
}

struct Turn<'a> {
    node: Node<'a>,
    from_model: bool,
    parts: Vec<Node<'a>>,
}

impl<'a> Turn<'a> {
    fn of(&self, field: &str) -> Vec<Node<'a>> {
        self.parts.iter().filter_map(|part| part.field(field)).collect()
    }
}

/// Checks `contents`; `thinking` tells that thoughts are asked for.
pub(super) fn contents(node: &Node<'_>, model: Model, thinking: bool) -> Check {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for content in node.elements()? {
        content.object(&["role", "parts"], &[])?;
        let role = content.known("role")?;
        let from_model = match role.string()? {
            "user" => false,
            "model" => true,
            _ => return role.refuse("Please use a valid role: user, model."),
        };
        match turns.last() {
            None if from_model => return role.refuse("the first content must be of the user"),
            Some(last) if last.from_model == from_model => {
                return role.refuse("the roles user and model must alternate");
            }
            _ => {}
        }
        let parts = content.known("parts")?.elements()?;
        for one in &parts {
            part(one, from_model, model)?;
        }
        turns.push(Turn { node: content, from_model, parts });
    }
    turns.iter().try_for_each(|turn| order(turn, model))?;
    pairs(&turns)?;
    if let Some(last) = turns.last().filter(|last| last.from_model) {
        return last
            .node
            .refuse("Please ensure that multiturn requests end with a user role or a function response.");
    }
    if model.maker == Maker::Claude {
        unique_ids(&turns)?;
    }
    if model.maker == Maker::Claude && thinking { thought_first(&turns) } else { Ok(()) }
}

fn part(node: &Node<'_>, from_model: bool, model: Model) -> Check {
    node.object(&[], &PART_FIELDS)?;
    let payloads: Vec<_> = PAYLOADS.iter().filter(|name| node.field(name).is_some()).collect();
    let [payload] = payloads[..] else {
        return node.refuse("contents.parts must have exactly one initialized field");
    };
    let is_thought = match node.field("thought") {
        None => false,
        Some(thought) if !thought.boolean()? => return thought.refuse("must be true when present"),
        Some(thought) if *payload != "text" || !from_model => {
            return thought.refuse("belongs to a text of the model");
        }
        Some(_) => true,
    };
    let signature = node
        .field("thoughtSignature")
        .map(|field| field.filled().map(|text| (field.clone(), text)))
        .transpose()?;
    if let Some((field, _)) = &signature
        && !from_model
    {
        return field.refuse("belongs to a part of the model");
    }
    let data = node.known(payload)?;
    match *payload {
        "text" if is_thought => {
            let text = data.string()?;
            match signature {
                None => node.refuse("a thought needs its thoughtSignature"),
                Some((field, text_of)) => signed(&field, model.maker, Subject::Thought(text), text_of),
            }
        }
        "text" => {
            match model.maker {
                Maker::Claude => written(&data)?,
                Maker::Gemini => data.filled().map(drop)?,
            }
            match signature {
                None => Ok(()),
                Some((field, _)) if model.maker == Maker::Claude => field.refuse("belongs to a thought"),
                Some((field, text)) => signed(&field, model.maker, Subject::Answer, text),
            }
        }
        "functionCall" => {
            if !from_model {
                return data.refuse("belongs to the model's turn");
            }
            call(&data, model, signature.as_ref())
        }
        _ if from_model => data.refuse("belongs to the user's turn"),
        _ if signature.is_some() => node.refuse("thoughtSignature belongs to the model's turn"),
        "functionResponse" => response(&data, model),
        "inlineData" => inline_data(&data, model.maker),
        _ => {
            data.object(&["mimeType", "fileUri"], &[])?;
            media_type(&data.known("mimeType")?, model.maker)?;
            let uri = data.known("fileUri")?;
            match uri.string()?.split_once("://") {
                Some(("https" | "http" | "gs", rest)) if !rest.is_empty() => Ok(()),
                _ => uri.refuse("Unsupported file URI"),
            }
        }
    }
}

fn signed(field: &Node<'_>, maker: Maker, subject: Subject<'_>, signature: &str) -> Check {
    match verify(maker, subject, signature) {
        Verdict::Valid => Ok(()),
        Verdict::NotIssued => {
            field.refuse("Invalid `signature` in `thinking` block: Corrupted thought signature.")
        }
        Verdict::OtherFamily => {
            field.refuse("Invalid `signature` in `thinking` block: issued to another model family.")
        }
        Verdict::OtherSubject => {
            field.refuse("Invalid `signature` in `thinking` block: it was issued for other content.")
        }
    }
}

fn call(node: &Node<'_>, model: Model, signature: Option<&(Node<'_>, &str)>) -> Check {
    node.object(&["name", "args"], &["id"])?;
    let name = tools::name(&node.known("name")?)?;
    node.known("args")?
        .value
        .as_object()
        .map_or_else(|| node.refuse("args must be an object"), |_| Ok(()))?;
    call_id(node, model)?;
    match (model.maker, signature) {
        (Maker::Claude, Some((field, _))) => field.refuse("belongs to a thought"),
        (Maker::Gemini, None) if model.signed_calls => node
            .refuse(format!("Function call `{name}` is missing a thought_signature in functionCall parts.")),
        (_, None) | (Maker::Gemini, Some((_, SENTINEL))) => Ok(()),
        (maker, Some((field, text))) => signed(field, maker, Subject::Call(name), text),
    }
}

fn response(node: &Node<'_>, model: Model) -> Check {
    node.object(&["name", "response"], &["id"])?;
    tools::name(&node.known("name")?)?;
    let response = node.known("response")?;
    if !response.value.is_object() {
        return response.refuse("must be an object");
    }
    call_id(node, model)
}

fn call_id(node: &Node<'_>, model: Model) -> Check {
    match node.field("id") {
        Some(id) => {
            let text = id.filled()?;
            if text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
                Ok(())
            } else {
                id.refuse("String should match pattern '^[a-zA-Z0-9_-]+$'")
            }
        }
        None if model.maker == Maker::Claude => node.refuse("tool_use.id: Field required"),
        None => Ok(()),
    }
}

fn inline_data(node: &Node<'_>, maker: Maker) -> Check {
    node.object(&["mimeType", "data"], &[])?;
    media_type(&node.known("mimeType")?, maker)?;
    let data = node.known("data")?;
    match STANDARD.decode(data.filled()?) {
        Ok(_) => Ok(()),
        Err(_) => data.refuse("Base64 decoding failed"),
    }
}

fn media_type(node: &Node<'_>, maker: Maker) -> Check {
    let kind = node.string()?;
    let known = CLAUDE_MEDIA.contains(&kind)
        || (maker == Maker::Gemini
            && (["image/heic", "image/heif", "text/plain"].contains(&kind)
                || kind.starts_with("audio/")
                || kind.starts_with("video/")));
    if known { Ok(()) } else { node.refuse(format!("Unsupported MIME type: {kind}")) }
}

/// A turn of the model: thoughts of a Claude model do not stand last, and nothing but calls follows a call.
fn order(turn: &Turn<'_>, model: Model) -> Check {
    if !turn.from_model {
        return Ok(());
    }
    let is_call = |part: &&Node<'_>| part.field("functionCall").is_some();
    if let Some(late) = turn.parts.iter().skip_while(|part| !is_call(part)).find(|part| !is_call(part)) {
        return late.refuse("nothing but function calls may follow a function call");
    }
    match turn.parts.last() {
        Some(last) if model.maker == Maker::Claude && last.field("thought").is_some() => {
            last.refuse("The final block in an assistant message cannot be `thinking`.")
        }
        _ => Ok(()),
    }
}

/// No id names two calls, wherever they stand.
fn unique_ids(turns: &[Turn<'_>]) -> Check {
    let mut seen = HashSet::new();
    for call in turns.iter().flat_map(|turn| turn.of("functionCall")) {
        if !call.value["id"].as_str().is_none_or(|id| seen.insert(id)) {
            return call.refuse("`tool_use` ids must be unique");
        }
    }
    Ok(())
}

/// Every call is answered in the next turn, every answer has its call, answers come first.
fn pairs(turns: &[Turn<'_>]) -> Check {
    let mut open: Vec<Node<'_>> = Vec::new();
    for turn in turns {
        let results = turn.of("functionResponse");
        if let Some(late) =
            turn.parts.iter().skip(results.len()).find(|part| part.field("functionResponse").is_some())
        {
            return late.refuse("functionResponse parts must come first in their turn");
        }
        answer(&turn.node, std::mem::take(&mut open), &results)?;
        open = turn.of("functionCall");
    }
    match open.first() {
        Some(call) => call.refuse("tool_use without a tool_result immediately after"),
        None => Ok(()),
    }
}

fn answer(turn: &Node<'_>, mut calls: Vec<Node<'_>>, results: &[Node<'_>]) -> Check {
    if calls.len() != results.len() {
        return turn.refuse(format!(
            "the number of function response parts ({}) must be equal to the number of function call parts of the \
             turn before ({})",
            results.len(),
            calls.len()
        ));
    }
    for result in results {
        let id = result.value.get("id");
        let at = match id {
            Some(_) => calls.iter().position(|call| call.value.get("id") == id),
            None => (calls[0].value.get("id").is_none()).then_some(0),
        };
        let Some(at) = at else {
            return result.refuse("answers no function call of the turn before");
        };
        let call = calls.remove(at);
        if call.value.get("name") != result.value.get("name") {
            return result.refuse("has another name than its function call");
        }
    }
    Ok(())
}

/// Inside a tool loop a Claude turn that was given with a thought must come back with it.
fn thought_first(turns: &[Turn<'_>]) -> Check {
    let Some(last) = turns.iter().rev().find(|turn| turn.from_model) else { return Ok(()) };
    let given = last
        .of("functionCall")
        .iter()
        .filter_map(|call| call.value["id"].as_str())
        .any(|id| id.starts_with(THOUGHT_BEFORE_CALL));
    let returned = last.parts.first().is_some_and(|part| part.field("thought").is_some());
    if given && !returned {
        let found = last.parts.first().map_or("nothing", |part| {
            if part.field("functionCall").is_some() { "`tool_use`" } else { "`text`" }
        });
        return last.node.refuse(format!(
            "Expected `thinking` or `redacted_thinking`, but found {found}. When `thinking` is enabled, a final \
             `assistant` message must start with a thinking block."
        ));
    }
    Ok(())
}
