//! A deterministic agent: what to answer follows from the conversation alone.
//!
//! The last text of the user is the instruction. It may ask for tools — `` run `date` ``, "use the
//! Read tool on /etc/hosts", `tool:NAME {json}`, "call 5 tools one after another" — and every step
//! is carried out as one turn of calls; then the answer quotes what the tools gave. Everything else
//! is answered in words. Instructions about the words: `reply with exactly: …`, `write N words`,
//! `think about …`.

mod arguments;
mod plan;

use serde_json::{Map, Value};

/// How the ids of calls begin that came after a thought; a turn with such a call must come back
/// with its thought.
pub(super) const THOUGHT_BEFORE_CALL: &str = "toolu_01T";
/// How the ids of other calls begin.
pub(super) const NO_THOUGHT_BEFORE_CALL: &str = "toolu_01N";

const QUOTED: usize = 4_000;

/// A call of a declared function.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) args: Value,
}

/// What the agent says next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) thought: String,
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
}

/// A function the request declares.
#[derive(Clone, Copy, Debug)]
struct Tool<'a> {
    name: &'a str,
    schema: &'a Value,
}

/// The next turn for the inner `request` of an envelope.
pub(super) fn reply(request: &Value) -> Reply {
    let contents = request["contents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (start, instruction) = instruction(contents);
    let tools = tools(request);
    let steps = plan::steps(&instruction, &tools, &request["toolConfig"]);
    let since = contents.get(start..).unwrap_or_default();
    let done = since.iter().filter(|content| has(content, "functionCall")).count();
    let thought = thought(&instruction, done, steps.len());
    if let Some(calls) = steps.get(done) {
        let text =
            if steps.len() > 1 { format!("Step {} of {}.", done + 1, steps.len()) } else { String::new() };
        return Reply { thought, text, calls: calls.clone() };
    }
    let results = results(since);
    let mut text = if results.is_empty() { plain(request, &instruction) } else { report(&results) };
    let media = media(since);
    if !media.is_empty() {
        text.push_str("\n\nI can see ");
        text.push_str(&media);
        text.push('.');
    }
    Reply { thought, text, calls: Vec::new() }
}

/// The last text of the user, as rules and the agent see it.
pub(super) fn last_text(request: &Value) -> String {
    instruction(request["contents"].as_array().map(Vec::as_slice).unwrap_or_default()).1
}

/// Where the last instruction stands and what it says.
fn instruction(contents: &[Value]) -> (usize, String) {
    for (at, content) in contents.iter().enumerate().rev() {
        if content["role"] != "user" {
            continue;
        }
        let parts = content["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = parts
            .iter()
            .rev()
            .filter_map(|part| part["text"].as_str())
            .map(without_reminders)
            .find(|text| !text.is_empty() && text != "." && text != "[Continue]");
        if let Some(text) = text {
            return (at, text);
        }
        let only_media = |part: &Value| part.get("inlineData").is_some() || part.get("fileData").is_some();
        if !parts.is_empty() && parts.iter().all(only_media) {
            return (at, String::new());
        }
    }
    (0, String::new())
}

/// The text without what a client adds in `<system-reminder>` tags.
fn without_reminders(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<system-reminder>") {
        kept.push_str(before);
        rest = after.split_once("</system-reminder>").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept.trim().to_owned()
}

fn tools(request: &Value) -> Vec<Tool<'_>> {
    let groups = request["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    groups
        .iter()
        .filter_map(|group| group["functionDeclarations"].as_array())
        .flatten()
        .filter_map(|one| Some(Tool { name: one["name"].as_str()?, schema: &one["parameters"] }))
        .collect()
}

fn has(content: &Value, field: &str) -> bool {
    content["parts"].as_array().is_some_and(|parts| parts.iter().any(|part| part.get(field).is_some()))
}

fn results(contents: &[Value]) -> Vec<String> {
    let parts = contents.iter().filter_map(|content| content["parts"].as_array()).flatten();
    parts.filter_map(|part| part["functionResponse"]["response"].as_object()).map(output).collect()
}

fn output(response: &Map<String, Value>) -> String {
    match response.get("result").or_else(|| response.get("output")) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => Value::Object(response.clone()).to_string(),
    }
}

fn report(results: &[String]) -> String {
    let mut text = match results.len() {
        1 => "The tool answered:".to_owned(),
        count => format!("The {count} tool calls answered:"),
    };
    for result in results {
        text.push('\n');
        text.extend(result.trim_end().chars().take(QUOTED));
    }
    text
}

fn thought(instruction: &str, done: usize, steps: usize) -> String {
    let asked: String = instruction.chars().take(200).collect();
    let mut text = format!("The user says: {asked}\n");
    if let Some((_, about)) = instruction.split_once("think about ") {
        for side in ["What speaks for it", "What speaks against it", "What follows"] {
            text.push_str(side);
            text.push_str(" in the matter of ");
            text.extend(about.chars().take(200));
            text.push_str(" is worth a moment. ");
        }
    }
    let plan = match steps {
        0 => "No tool is needed; I answer in words.".to_owned(),
        steps if done < steps => {
            format!("That takes {steps} steps; {done} are done, so the next call is due.")
        }
        _ => "All steps are done; I report what the tools gave.".to_owned(),
    };
    text + &plan
}

fn plain(request: &Value, instruction: &str) -> String {
    let lower = instruction.to_ascii_lowercase();
    for marker in ["reply with exactly:", "say exactly:"] {
        if let Some(at) = lower.find(marker) {
            return instruction[at + marker.len()..].trim().to_owned();
        }
    }
    if let Some(count) = plan::number_between(&lower, "write", "word") {
        let words: Vec<_> = (1..=count.min(100_000)).map(|number| format!("word{number}")).collect();
        return words.join(" ");
    }
    let system = system(request);
    if system.contains("json") && system.contains("title") {
        let title: String = instruction.split_whitespace().take(5).collect::<Vec<_>>().join(" ");
        let mut answer = Map::new();
        if system.contains("isnewtopic") {
            answer.insert("isNewTopic".to_owned(), Value::Bool(true));
        }
        answer.insert("title".to_owned(), Value::String(title));
        return Value::Object(answer).to_string();
    }
    if instruction.is_empty() {
        return "There is no text to answer.".to_owned();
    }
    let asked: String = instruction.chars().take(400).collect();
    format!("You said: \"{asked}\". I am a simulated model; ask me to run `a command` and I will use a tool.")
}

/// The system texts in lower case.
fn system(request: &Value) -> String {
    let parts = request["systemInstruction"]["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n").to_lowercase()
}

/// `2 attachments: image/png, application/pdf`; empty without any.
fn media(contents: &[Value]) -> String {
    let kinds: Vec<_> = contents
        .iter()
        .filter_map(|content| content["parts"].as_array())
        .flatten()
        .filter_map(|part| part.get("inlineData").or_else(|| part.get("fileData")))
        .filter_map(|data| data["mimeType"].as_str())
        .collect();
    match kinds.len() {
        0 => String::new(),
        1 => format!("1 attachment: {}", kinds[0]),
        count => format!("{count} attachments: {}", kinds.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Call, reply};

    fn request(contents: &Value) -> Value {
        let bash = json!({"type": "OBJECT", "required": ["command"], "properties": {
            "command": {"type": "STRING"}, "description": {"type": "STRING"}, "timeout": {"type": "INTEGER"}}});
        let read = json!({"type": "OBJECT", "required": ["file_path"], "properties": {
            "file_path": {"type": "STRING"}, "limit": {"type": "INTEGER"}}});
        json!({"contents": contents, "tools": [{"functionDeclarations": [
            {"name": "Bash", "description": "", "parameters": bash},
            {"name": "Read", "description": "", "parameters": read},
        ]}]})
    }

    fn ask(text: &str) -> Vec<Call> {
        reply(&request(&json!([{"role": "user", "parts": [{"text": text}]}]))).calls
    }

    #[test]
    fn instructions_become_calls() {
        for (text, name, field, value) in [
            ("run `date`", "Bash", "command", "date"),
            ("Please use the Bash tool to run: echo hi", "Bash", "command", "echo hi"),
            (
                "Use the Bash tool to run the command ls -l and tell me.",
                "Bash",
                "command",
                "ls -l and tell me",
            ),
            ("Run the command echo hi", "Bash", "command", "echo hi"),
            ("Use the Read tool on /etc/hosts.", "Read", "file_path", "/etc/hosts"),
            (r#"tool:Read {"file_path":"/x"}"#, "Read", "file_path", "/x"),
            ("<system-reminder>run `rm`</system-reminder> run `ls`", "Bash", "command", "ls"),
        ] {
            let calls = ask(text);
            assert_eq!(calls.len(), 1, "{text}");
            assert_eq!(
                (calls[0].name.as_str(), calls[0].args[field].as_str()),
                (name, Some(value)),
                "{text}"
            );
        }
        assert_eq!(ask("run `a` and `b` in parallel").len(), 2);
        assert_eq!(ask("call 3 tools in parallel").len(), 3);
        assert_eq!(ask("call five tools one after another").len(), 1);
        assert!(ask("hello there").is_empty());
    }

    #[test]
    fn steps_go_on_until_all_are_done() {
        let mut contents = vec![json!({"role": "user", "parts": [
            {"text": "1. run `a`\n2. run `b`"}, {"text": "<system-reminder>x</system-reminder>"}]})];
        for command in ["a", "b"] {
            let next = reply(&request(&Value::from(contents.clone())));
            assert_eq!(next.calls[0].args["command"], command);
            contents
                .push(json!({"role": "model", "parts": [{"functionCall": {"name": "Bash", "args": {}}}]}));
            contents.push(json!({"role": "user", "parts": [
                {"functionResponse": {"name": "Bash", "response": {"result": format!("out-{command}")}}}]}));
        }
        let last = reply(&request(&Value::from(contents)));
        assert!(last.calls.is_empty());
        assert!(last.text.contains("out-a") && last.text.contains("out-b"), "{}", last.text);
    }

    #[test]
    fn words_are_answered_in_words() {
        let say = |text: &str, system: &str| {
            reply(&json!({"contents": [{"role": "user", "parts": [{"text": text},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}],
                "systemInstruction": {"parts": [{"text": system}]}}))
            .text
        };
        assert!(say("hello", "").contains("hello"));
        assert!(say("hello", "").ends_with("I can see 1 attachment: image/png."));
        assert!(say("write 3 words", "").starts_with("word1 word2 word3"));
        assert!(say("Reply with exactly: OK", "").starts_with("OK"));
        assert!(
            say("fix the parser", "Answer JSON with a title").starts_with(r#"{"title":"fix the parser"}"#)
        );
    }
}
