//! From an instruction to steps; each step is a list of calls made in one turn.

use serde_json::{Value, json};

use super::arguments::{arguments, with};
use super::{Call, Tool};

const NUMBERS: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
];
/// More calls than this are nobody's wish.
const MOST_CALLS: usize = 100;

/// What `instruction` asks of `tools`; empty when it asks for none.
pub(super) fn steps(instruction: &str, tools: &[Tool<'_>], config: &Value) -> Vec<Vec<Call>> {
    let config = &config["functionCallingConfig"];
    if tools.is_empty() || config["mode"] == "NONE" {
        return Vec::new();
    }
    let lower = instruction.to_ascii_lowercase();
    let mut calls = named(instruction, tools);
    if calls.is_empty() {
        calls = counted(&lower, tools);
    }
    if calls.is_empty() {
        calls = commands(instruction, &lower, tools);
    }
    if calls.is_empty() {
        calls = mentioned(instruction, &lower, tools);
    }
    if calls.is_empty() && config["mode"] == "ANY" {
        let allowed = config["allowedFunctionNames"][0].as_str();
        let tool = tools.iter().find(|tool| allowed.is_none_or(|name| name == tool.name));
        calls.extend(
            tool.map(|tool| Call { name: tool.name.to_owned(), args: arguments(tool.schema, instruction) }),
        );
    }
    if lower.contains("in parallel") && !calls.is_empty() {
        vec![calls]
    } else {
        calls.into_iter().map(|call| vec![call]).collect()
    }
}

/// `N` of `<before> N <after>`, as digits or a word up to twelve.
pub(super) fn number_between(lower: &str, before: &str, after: &str) -> Option<usize> {
    let words: Vec<_> = lower.split_whitespace().collect();
    words.windows(3).find_map(|three| {
        (three[0] == before && three[2].starts_with(after)).then(|| {
            three[1].parse().ok().or_else(|| NUMBERS.iter().position(|number| *number == three[1]))
        })?
    })
}

/// `tool:NAME {json}`, any number of times.
fn named(instruction: &str, tools: &[Tool<'_>]) -> Vec<Call> {
    let mut calls = Vec::new();
    for piece in instruction.split("tool:").skip(1) {
        let end =
            piece.find(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c)).unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        let Some(tool) = tools.iter().find(|tool| tool.name == name) else { continue };
        let mut given = serde_json::Deserializer::from_str(rest.trim_start()).into_iter::<Value>();
        let args = match given.next() {
            Some(Ok(args @ Value::Object(_))) => args,
            _ => arguments(tool.schema, instruction),
        };
        calls.push(Call { name: name.to_owned(), args });
    }
    calls
}

/// "call N tools".
fn counted(lower: &str, tools: &[Tool<'_>]) -> Vec<Call> {
    let count = number_between(lower, "call", "tool").unwrap_or(0).min(MOST_CALLS);
    let Some(tool) = shell(tools).or_else(|| tools.first()) else { return Vec::new() };
    (1..=count)
        .map(|number| {
            let mut args = arguments(tool.schema, lower);
            if tool.schema["properties"].get("command").is_some() {
                args["command"] = json!(format!("echo step {number}"));
            }
            Call { name: tool.name.to_owned(), args }
        })
        .collect()
}

/// Commands in back quotes, or what follows "run the command", "run:", or "to run" when the shell's
/// tool is named.
fn commands(instruction: &str, lower: &str, tools: &[Tool<'_>]) -> Vec<Call> {
    let Some(tool) = shell(tools) else { return Vec::new() };
    if !["run", "execute", "bash"].iter().any(|word| lower.contains(word)) {
        return Vec::new();
    }
    let call =
        |command: &str| Call { name: tool.name.to_owned(), args: with(tool.schema, "command", command) };
    let quoted: Vec<_> = instruction.split('`').skip(1).step_by(2).map(str::trim).collect();
    if quoted.iter().any(|command| !command.is_empty()) {
        return quoted.into_iter().filter(|command| !command.is_empty()).map(call).collect();
    }
    let named = lower.contains(&format!("{} tool", tool.name.to_ascii_lowercase()));
    let plain =
        ["run the command", "run:", "execute:"].iter().find_map(|mark| Some((lower.find(mark)?, mark.len())));
    let marked = plain.or_else(|| Some((lower.find("to run").filter(|_| named)?, "to run".len())));
    let Some((at, length)) = marked else { return Vec::new() };
    let rest = instruction[at + length..].lines().next().unwrap_or_default().trim();
    let rest = rest.trim_start_matches("the command").trim_start_matches([':', ' ']);
    let command = rest.trim_end_matches('.').trim();
    if command.is_empty() { Vec::new() } else { vec![call(command)] }
}

/// "use the NAME tool".
fn mentioned(instruction: &str, lower: &str, tools: &[Tool<'_>]) -> Vec<Call> {
    let tool = tools.iter().find(|tool| {
        let name = tool.name.to_ascii_lowercase();
        lower.contains(&format!("use the {name} tool"))
            || lower.contains(&format!("call the {name} tool"))
            || lower.contains(&format!("use {name}"))
    });
    tool.map(|tool| Call { name: tool.name.to_owned(), args: arguments(tool.schema, instruction) })
        .into_iter()
        .collect()
}

/// The tool that takes a command.
fn shell<'t, 'a>(tools: &'t [Tool<'a>]) -> Option<&'t Tool<'a>> {
    tools
        .iter()
        .find(|tool| tool.name == "Bash")
        .or_else(|| tools.iter().find(|tool| tool.schema["properties"].get("command").is_some()))
}
