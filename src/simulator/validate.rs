//! Strictness: what the real service would refuse, and what no request of ours may contain.
//!
//! Every check names the field by its path from the top of the body. Rules: spec `conversion.md`
//! §3–§5, §7, §13.1.

mod contents;
mod generation;
mod headers;
mod tools;

use serde::Serialize;
use serde_json::{Map, Value};

use super::model::Model;

pub use tools::parameters;

pub(super) use headers::{code_assist as code_assist_headers, generate as generate_headers};

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The field, from the top of the body (`request.contents[2].parts[0]`), or `header:<name>`.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Refusal {
    /// The text of the error the client gets.
    #[must_use]
    pub fn message(&self) -> String {
        format!("{}: {}", if self.path.is_empty() { "(body)" } else { &self.path }, self.reason)
    }
}

type Check = Result<(), Refusal>;

/// A value of the body with the way to it.
#[derive(Clone, Debug)]
struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    fn refuse<T>(&self, reason: impl Into<String>) -> Result<T, Refusal> {
        Err(Refusal { path: self.path.clone(), reason: reason.into() })
    }

    /// An object that has all of `required` and nothing beside `required` and `optional`.
    fn object(&self, required: &[&str], optional: &[&str]) -> Result<&'a Map<String, Value>, Refusal> {
        let Value::Object(map) = self.value else { return self.refuse("must be an object") };
        for key in map.keys() {
            if !required.contains(&key.as_str()) && !optional.contains(&key.as_str()) {
                return self.refuse(format!(
                    "Invalid JSON payload received. Unknown name \"{key}\": Cannot find field."
                ));
            }
        }
        match required.iter().find(|name| !map.contains_key(**name)) {
            Some(name) => self.refuse(format!("required field \"{name}\" is missing")),
            None => Ok(map),
        }
    }

    fn field(&self, name: &str) -> Option<Node<'a>> {
        let value = self.value.get(name)?;
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Some(Node { value, path })
    }

    /// A field that an earlier [`Node::object`] has found.
    fn known(&self, name: &str) -> Result<Node<'a>, Refusal> {
        match self.field(name) {
            Some(node) => Ok(node),
            None => self.refuse(format!("required field \"{name}\" is missing")),
        }
    }

    fn string(&self) -> Result<&'a str, Refusal> {
        self.value.as_str().map_or_else(|| self.refuse("must be a string"), Ok)
    }

    fn filled(&self) -> Result<&'a str, Refusal> {
        match self.string()? {
            "" => self.refuse("must not be empty"),
            text => Ok(text),
        }
    }

    fn boolean(&self) -> Result<bool, Refusal> {
        self.value.as_bool().map_or_else(|| self.refuse("must be a boolean"), Ok)
    }

    fn integer(&self, least: i64, most: i64) -> Result<i64, Refusal> {
        match self.value.as_i64() {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            Some(number) => self.refuse(format!("{number} is outside of {least}..={most}")),
            None => self.refuse("must be an integer"),
        }
    }

    fn number(&self, least: f64, most: f64) -> Result<f64, Refusal> {
        match self.value.as_f64() {
            Some(number) if number >= least && number <= most => Ok(number),
            Some(number) => self.refuse(format!("{number} is outside of {least}..={most}")),
            None => self.refuse("must be a number"),
        }
    }

    /// The elements of a list that must not be empty.
    fn elements(&self) -> Result<Vec<Node<'a>>, Refusal> {
        let Value::Array(items) = self.value else { return self.refuse("must be an array") };
        if items.is_empty() {
            return self.refuse("must not be empty");
        }
        Ok(items
            .iter()
            .enumerate()
            .map(|(at, value)| Node { value, path: format!("{}[{at}]", self.path) })
            .collect())
    }
}

fn root(body: &Value) -> Node<'_> {
    Node { value: body, path: String::new() }
}

/// Checks the body of `generateContent` and `streamGenerateContent`; `projects` are those the
/// account may use.
pub(super) fn generate(body: &Value, model: Model, projects: &[&str]) -> Check {
    let root = root(body);
    root.object(&["project", "model", "request", "userAgent", "requestType", "requestId"], &[])?;
    project(&root, projects)?;
    root.known("userAgent")?.filled()?;
    let kind = root.known("requestType")?;
    if kind.string()? != "agent" {
        return kind.refuse("must be \"agent\"");
    }
    let id = root.known("requestId")?;
    if id.string()?.len() <= "agent-".len() || !id.string()?.starts_with("agent-") {
        return id.refuse("must be \"agent-\" and an id");
    }
    let request = root.known("request")?;
    request.object(
        &["contents", "generationConfig", "sessionId"],
        &["systemInstruction", "tools", "toolConfig"],
    )?;
    request.known("sessionId")?.filled()?;
    let thinking = generation::config(&request.known("generationConfig")?, model)?;
    if let Some(system) = request.field("systemInstruction") {
        contents::system(&system)?;
    }
    let declared = request.field("tools").map(|node| tools::declarations(&node)).transpose()?;
    if let Some(config) = request.field("toolConfig") {
        tools::config(&config, declared.as_deref())?;
    }
    contents::contents(&request.known("contents")?, model, thinking)
}

/// Checks the body of `countTokens`: the same envelope, or just `{"request": {"model", "contents"}}`.
pub(super) fn count(body: &Value, model: Model, projects: &[&str]) -> Check {
    if body.get("project").is_some() {
        return generate(body, model, projects);
    }
    let root = root(body);
    root.object(&["request"], &[])?;
    let request = root.known("request")?;
    request.object(&["model", "contents"], &[])?;
    contents::contents(&request.known("contents")?, model, false)
}

/// Checks the body of `loadCodeAssist` (spec `http-api.md` §6.7).
pub(super) fn load_code_assist(body: &Value) -> Check {
    let root = root(body);
    root.object(&["metadata"], &["mode"])?;
    if let Some(mode) = root.field("mode") {
        mode.integer(1, 1)?;
    }
    metadata(&root.known("metadata")?)
}

/// Checks the body of `onboardUser`; a project in it is refused, as the real service does.
pub(super) fn onboard_user(body: &Value, tiers: &[&str]) -> Check {
    let root = root(body);
    root.object(&["tierId", "metadata"], &[])?;
    let tier = root.known("tierId")?;
    if !tiers.contains(&tier.string()?) {
        return tier.refuse("is not a tier this account may use");
    }
    metadata(&root.known("metadata")?)
}

/// Checks the body of `fetchAvailableModels`.
pub(super) fn fetch_available_models(body: &Value, projects: &[&str]) -> Check {
    let root = root(body);
    root.object(&[], &["project"])?;
    if root.field("project").is_some() { project(&root, projects) } else { Ok(()) }
}

fn project(root: &Node<'_>, projects: &[&str]) -> Check {
    let project = root.known("project")?;
    if projects.contains(&project.filled()?) {
        Ok(())
    } else {
        project.refuse("is not a project of this account")
    }
}

fn metadata(node: &Node<'_>) -> Check {
    node.object(&["ideType", "platform", "pluginType"], &["duetProject"])?;
    node.known("ideType")?.integer(0, 99)?;
    node.known("platform")?.integer(0, 5)?;
    node.known("pluginType")?.integer(0, 99)?;
    if let Some(project) = node.field("duetProject") {
        project.filled()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
