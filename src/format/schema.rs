//! Tool schemas: JSON Schema to the subset that Google's function declarations take.
//!
//! One recursive pass (spec `conversion.md` §13.1): references are inlined, unions decided, types made single, and what
//! the target cannot express becomes a hint in the description, so that the model still knows it. The result has the
//! keys `type, description, properties, required, items, enum` only, in this order, with the client's own order of
//! properties, and depends on nothing but the schema. Converting a result again changes nothing.

use serde_json::{Map, Value};

/// How many references may be nested in each other before one becomes a hint.
const MAX_REFERENCES: usize = 16;
/// How deep the result may be; deeper nodes become strings.
const MAX_DEPTH: usize = 64;
/// How many nodes one schema may have after inlining; what lies beyond becomes a string. Shared definitions that refer
/// to each other twice would otherwise double with every level.
const MAX_NODES: usize = 10_000;

const CONSTRAINTS: [&str; 8] =
    ["minLength", "maxLength", "pattern", "minimum", "maximum", "minItems", "maxItems", "format"];

/// Converts the root schema of a tool; anything but an object becomes the placeholder.
#[must_use]
pub fn convert(schema: &Value) -> Value {
    let Value::Object(map) = schema else { return placeholder() };
    let mut pass = Pass { root: schema, references: Vec::new(), nodes: 0 };
    let mut node = pass.node(map, 0, true);
    if node.kind != "object" {
        return placeholder();
    }
    node.fill();
    node.into_value()
}

/// What a tool without parameters takes: one required string that says why it is called.
#[must_use]
pub fn placeholder() -> Value {
    let mut node = Node::of("object");
    node.fill();
    node.into_value()
}

/// A converted schema.
struct Node {
    kind: &'static str,
    description: Option<String>,
    properties: Vec<(String, Node)>,
    required: Vec<String>,
    items: Option<Box<Node>>,
    allowed: Vec<String>,
    nullable: bool,
}

impl Node {
    fn of(kind: &'static str) -> Self {
        Self {
            kind,
            description: None,
            properties: Vec::new(),
            required: Vec::new(),
            items: None,
            allowed: Vec::new(),
            nullable: false,
        }
    }

    /// `VALIDATED` mode refuses objects without properties and arrays without items.
    fn fill(&mut self) {
        if self.kind == "object" && self.properties.is_empty() {
            let mut reason = Self::of("string");
            reason.description = Some("Reason for calling this tool".to_owned());
            self.properties.push(("reason".to_owned(), reason));
            self.required = vec!["reason".to_owned()];
        }
        if self.kind == "array" && self.items.is_none() {
            self.items = Some(Box::new(Self::of("string")));
        }
    }

    fn into_value(self) -> Value {
        let mut out = Map::new();
        out.insert("type".to_owned(), self.kind.to_ascii_uppercase().into());
        if let Some(description) = self.description {
            out.insert("description".to_owned(), description.into());
        }
        if !self.properties.is_empty() {
            let properties = self.properties.into_iter().map(|(name, node)| (name, node.into_value()));
            out.insert("properties".to_owned(), Value::Object(properties.collect()));
        }
        if !self.required.is_empty() {
            out.insert("required".to_owned(), self.required.into());
        }
        if let Some(items) = self.items {
            out.insert("items".to_owned(), items.into_value());
        }
        if !self.allowed.is_empty() {
            out.insert("enum".to_owned(), self.allowed.into());
        }
        Value::Object(out)
    }
}

/// Appends a hint to a description: `base (hint)`, or the hint alone; a hint that is already there is not repeated.
fn hint(description: &mut Option<String>, hint: &str) {
    match description {
        Some(text) if !text.is_empty() => {
            let there =
                text == hint || text.starts_with(&format!("{hint} (")) || text.contains(&format!("({hint})"));
            if !there {
                *text = format!("{text} ({hint})");
            }
        }
        _ => *description = Some(hint.to_owned()),
    }
}

/// A value as ECMAScript prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => "[object Object]".to_owned(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn type_names(map: &Map<String, Value>) -> Vec<&str> {
    match map.get("type") {
        Some(Value::String(name)) if !name.is_empty() => vec![name],
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).filter(|n| !n.is_empty()).collect()
        }
        _ => Vec::new(),
    }
}

fn is_null_type(name: &str) -> bool {
    name.eq_ignore_ascii_case("null")
}

fn kind_of(name: &str) -> &'static str {
    ["string", "number", "integer", "boolean", "array", "object"]
        .into_iter()
        .find(|kind| kind.eq_ignore_ascii_case(name))
        .unwrap_or("string")
}

/// The values a node is limited to, `const` included.
fn values_of(map: &Map<String, Value>) -> Option<Vec<Value>> {
    if let Some(Value::Array(values)) = map.get("enum") {
        return Some(values.clone());
    }
    map.get("const").map(|value| vec![value.clone()])
}

fn kind_of_values(values: &[Value]) -> &'static str {
    let mut real = values.iter().filter(|v| !v.is_null()).peekable();
    if real.peek().is_none() {
        return "string";
    }
    let all = |test: fn(&Value) -> bool| values.iter().filter(|v| !v.is_null()).all(test);
    if all(Value::is_boolean) {
        "boolean"
    } else if all(|v| v.is_i64() || v.is_u64()) {
        "integer"
    } else if all(Value::is_number) {
        "number"
    } else {
        "string"
    }
}

fn explicit_or_derived(map: &Map<String, Value>) -> Option<&'static str> {
    if let Some(name) = type_names(map).into_iter().find(|name| !is_null_type(name)) {
        return Some(kind_of(name));
    }
    if map.get("properties").is_some_and(Value::is_object) {
        return Some("object");
    }
    if map.contains_key("items") || map.contains_key("prefixItems") {
        return Some("array");
    }
    values_of(map).map(|values| kind_of_values(&values))
}

fn is_only_null(map: &Map<String, Value>) -> bool {
    let names = type_names(map);
    if names.is_empty() {
        return values_of(map).is_some_and(|values| !values.is_empty() && values.iter().all(Value::is_null));
    }
    names.into_iter().all(is_null_type)
}

/// How much an option of a union tells: objects over arrays over scalars over nothing.
fn score(map: &Map<String, Value>) -> u8 {
    match explicit_or_derived(map) {
        Some("object") => 3,
        Some("array") => 2,
        Some(_) => 1,
        None => 0,
    }
}

fn append_names(into: &mut Map<String, Value>, names: Option<&Value>) {
    let Some(Value::Array(names)) = names else { return };
    let list = into.entry("required").or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(list) = list else { return };
    for name in names {
        if !list.contains(name) {
            list.push(name.clone());
        }
    }
}

struct Pass<'s> {
    root: &'s Value,
    /// References that are being inlined; one that occurs again is a cycle.
    references: Vec<String>,
    nodes: usize,
}

impl Pass<'_> {
    fn value(&mut self, schema: &Value, depth: usize) -> Node {
        match schema {
            Value::Object(map) => self.node(map, depth, false),
            _ => Node::of("string"),
        }
    }

    fn node(&mut self, map: &Map<String, Value>, depth: usize, root: bool) -> Node {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Node::of("string");
        }
        let open = self.references.len();
        let mut nullable = false;
        let mut hints = Vec::new();
        let map = self.flatten(map.clone(), depth, &mut nullable, &mut hints);
        let node = self.finish(&map, depth, root, nullable, &hints);
        self.references.truncate(open);
        node
    }

    /// Resolves reference, `allOf` and unions of one node, so that only plain keywords remain. Definitions that were
    /// inlined stay on the stack until the caller is done with the node's children.
    fn flatten(
        &mut self,
        mut map: Map<String, Value>,
        depth: usize,
        nullable: &mut bool,
        hints: &mut Vec<String>,
    ) -> Map<String, Value> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            map.retain(|key, _| key == "description");
            return map;
        }
        while let Some(Value::String(reference)) = map.get("$ref").filter(|r| **r != "") {
            let reference = reference.clone();
            map = self.inline(&reference, &map);
        }
        if let Some(Value::Array(members)) = map.shift_remove("allOf") {
            let mut merged = Map::new();
            for member in members {
                let Value::Object(member) = member else { continue };
                let member = self.flatten(member, depth + 1, nullable, hints);
                merge_member(&mut merged, member);
            }
            map = merge_parent(merged, map);
        }
        for union in ["anyOf", "oneOf"] {
            if let Some(Value::Array(options)) = map.shift_remove(union) {
                self.choose(&mut map, options, depth, nullable, hints);
            }
        }
        map
    }

    /// The definition behind a local reference with the description of `site`, or the hint that names it.
    fn inline(&mut self, reference: &str, site: &Map<String, Value>) -> Map<String, Value> {
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let known = self.references.iter().any(|open| open == reference);
        let described = site.get("description").filter(|d| d.as_str().is_some_and(|d| !d.is_empty()));
        if let Some(Value::Object(target)) = target
            && !known
            && self.references.len() < MAX_REFERENCES
        {
            self.references.push(reference.to_owned());
            let mut target = target.clone();
            if let Some(description) = described {
                target.insert("description".to_owned(), description.clone());
            }
            return target;
        }
        let name = reference.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown");
        let mut description = described.and_then(Value::as_str).map(str::to_owned);
        hint(&mut description, &format!("See: {name}"));
        let mut map = Map::new();
        map.insert("type".to_owned(), "object".into());
        map.insert("description".to_owned(), description.into());
        map
    }

    /// Puts the most telling option of a union in the union's place.
    fn choose(
        &mut self,
        map: &mut Map<String, Value>,
        options: Vec<Value>,
        depth: usize,
        nullable: &mut bool,
        hints: &mut Vec<String>,
    ) {
        let mut real = Vec::new();
        for option in options {
            let Value::Object(option) = option else { continue };
            let mut ours = Vec::new();
            let option = self.flatten(option, depth + 1, nullable, &mut ours);
            if is_only_null(&option) {
                *nullable = true;
            } else {
                real.push((option, ours));
            }
        }
        if real.len() > 1 && join_values(map, &real) {
            return;
        }
        let names: Vec<&str> = real.iter().filter_map(|(option, _)| explicit_or_derived(option)).collect();
        let accepts = accepts(&names);
        let mut best: Option<(Map<String, Value>, Vec<String>)> = None;
        for (option, ours) in real {
            if best.as_ref().is_none_or(|(winner, _)| score(&option) > score(winner)) {
                best = Some((option, ours));
            }
        }
        if let Some((option, ours)) = best {
            adopt(map, option);
            hints.extend(ours);
        }
        hints.extend(accepts);
    }

    fn finish(
        &mut self,
        map: &Map<String, Value>,
        depth: usize,
        root: bool,
        mut nullable: bool,
        hints: &[String],
    ) -> Node {
        let names = type_names(map);
        let real: Vec<&str> = names.iter().copied().filter(|name| !is_null_type(name)).collect();
        let fallback = if root { "object" } else { "string" };
        let mut node = Node::of(explicit_or_derived(map).unwrap_or(fallback));
        node.description = map.get("description").and_then(Value::as_str).map(str::to_owned);
        node.description.take_if(|text| text.is_empty());

        for text in hints {
            hint(&mut node.description, text);
        }
        if let Some(text) = accepts(&real) {
            hint(&mut node.description, &text);
        }
        nullable |= !real.is_empty() && real.len() < names.len();
        if nullable && !root {
            hint(&mut node.description, "nullable");
            node.nullable = true;
        }

        let values = values_of(map).unwrap_or_default();
        let listed = node
            .description
            .as_deref()
            .is_some_and(|d| d.starts_with("Allowed: ") || d.contains("(Allowed: "));
        if (2..=10).contains(&values.len()) && !listed {
            let list: Vec<String> = values.iter().map(shown).collect();
            hint(&mut node.description, &format!("Allowed: {}", list.join(", ")));
        }
        if map.get("additionalProperties") == Some(&Value::Bool(false)) {
            hint(&mut node.description, "No extra properties allowed");
        }
        for keyword in CONSTRAINTS {
            if let Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) = map.get(keyword) {
                hint(&mut node.description, &format!("{keyword}: {}", shown(value)));
            }
        }

        match node.kind {
            "string" => {
                for value in &values {
                    let text = shown(value);
                    // The target refuses empty values.
                    if !value.is_null() && !text.is_empty() && !node.allowed.contains(&text) {
                        node.allowed.push(text);
                    }
                }
            }
            "array" => node.items = self.items(map, depth),
            "object" => self.properties(map, depth, &mut node),
            _ => {}
        }
        node.fill();
        node
    }

    fn properties(&mut self, map: &Map<String, Value>, depth: usize, node: &mut Node) {
        if let Some(Value::Object(properties)) = map.get("properties") {
            for (name, schema) in properties {
                let property = self.value(schema, depth + 1);
                node.properties.push((name.clone(), property));
            }
        }
        let Some(Value::Array(required)) = map.get("required") else { return };
        for name in required.iter().filter_map(Value::as_str) {
            let there = node.properties.iter().any(|(own, property)| own == name && !property.nullable);
            if there && !node.required.iter().any(|own| own == name) {
                node.required.push(name.to_owned());
            }
        }
    }

    fn items(&mut self, map: &Map<String, Value>, depth: usize) -> Option<Box<Node>> {
        let tuple = match (map.get("items"), map.get("prefixItems")) {
            (Some(schema @ Value::Object(_)), None) => return Some(Box::new(self.value(schema, depth + 1))),
            (Some(Value::Array(tuple)), _) | (_, Some(Value::Array(tuple))) => tuple,
            _ => return None,
        };
        let mut nodes: Vec<Node> = tuple.iter().map(|schema| self.value(schema, depth + 1)).collect();
        let names: Vec<&str> = nodes.iter().map(|node| node.kind).collect();
        let differ = names.windows(2).any(|pair| pair[0] != pair[1]);
        let text = if differ { accepts(&names) } else { None };
        let mut first = if nodes.is_empty() { return None } else { nodes.swap_remove(0) };
        if let Some(text) = text {
            hint(&mut first.description, &text);
        }
        Some(Box::new(first))
    }
}

/// `Accepts: a | b` for more than one type name, without repetitions.
fn accepts(names: &[&str]) -> Option<String> {
    if names.len() < 2 {
        return None;
    }
    let mut distinct: Vec<&str> = Vec::new();
    for name in names {
        if !distinct.contains(name) {
            distinct.push(name);
        }
    }
    Some(format!("Accepts: {}", distinct.join(" | ")))
}

/// Members of an `allOf`: later properties replace earlier ones, `required` is united, else the first one wins.
fn merge_member(merged: &mut Map<String, Value>, member: Map<String, Value>) {
    for (key, value) in member {
        match (key.as_str(), value) {
            ("required", names) => append_names(merged, Some(&names)),
            ("properties", Value::Object(properties)) => {
                let own = merged.entry("properties").or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(own) = own {
                    own.extend(properties);
                }
            }
            (_, value) => {
                merged.entry(key).or_insert(value);
            }
        }
    }
}

/// The parent of an `allOf` over its merged members: the parent wins, the members come first.
fn merge_parent(mut merged: Map<String, Value>, parent: Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    let inherited = merged.shift_remove("properties");
    let required = merged.shift_remove("required");
    append_names(&mut out, required.as_ref());
    if let Some(properties) = inherited {
        out.insert("properties".to_owned(), properties);
    }
    for (key, value) in parent {
        match (key.as_str(), value) {
            ("required", names) => append_names(&mut out, Some(&names)),
            ("properties", Value::Object(properties)) => {
                let own = out.entry("properties").or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(own) = own {
                    own.extend(properties);
                }
            }
            (_, value) => {
                out.insert(key, value);
            }
        }
    }
    for (key, value) in merged {
        out.entry(key).or_insert(value);
    }
    out
}

/// Options that are all `const` or `enum` of one type become one `enum`.
fn join_values(map: &mut Map<String, Value>, options: &[(Map<String, Value>, Vec<String>)]) -> bool {
    let mut joined: Vec<Value> = Vec::new();
    for (option, _) in options {
        match values_of(option) {
            Some(values) => joined.extend(values),
            None => return false,
        }
    }
    let kind = kind_of_values(&joined);
    if options.iter().any(|(option, _)| explicit_or_derived(option) != Some(kind)) {
        return false;
    }
    let mut distinct: Vec<Value> = Vec::new();
    for value in joined {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    map.insert("type".to_owned(), kind.into());
    map.insert("enum".to_owned(), Value::Array(distinct));
    true
}

/// Copies the chosen option over its union's node.
fn adopt(map: &mut Map<String, Value>, option: Map<String, Value>) {
    for (key, value) in option {
        match key.as_str() {
            "type" | "properties" | "items" => {
                map.insert(key, value);
            }
            "description" => {
                let Some(text) = value.as_str().filter(|text| !text.is_empty()) else { continue };
                let mut description = map.get("description").and_then(Value::as_str).map(str::to_owned);
                if description.as_deref() != Some(text) {
                    hint(&mut description, text);
                    map.insert(key, description.into());
                }
            }
            _ => {
                map.entry(key).or_insert(value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
