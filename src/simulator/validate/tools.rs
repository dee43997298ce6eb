//! Function declarations, their schemas and `toolConfig` (spec `conversion.md` §3.9, §3.10, §13.1).

use super::{Check, Node, Refusal};

/// Checks `tools`; gives the declared names.
pub(super) fn declarations<'a>(node: &Node<'a>) -> Result<Vec<&'a str>, Refusal> {
    let mut names = Vec::new();
    for tool in node.elements()? {
        tool.object(&["functionDeclarations"], &[])?;
        for declaration in tool.known("functionDeclarations")?.elements()? {
            declaration.object(&["name", "description", "parameters"], &[])?;
            declaration.known("description")?.string()?;
            let field = declaration.known("name")?;
            let name = name(&field)?;
            if names.contains(&name) {
                return field.refuse(format!("Duplicate function declaration found: {name}"));
            }
            names.push(name);
            object_schema(&declaration.known("parameters")?)?;
        }
    }
    Ok(names)
}

/// A function name: `[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}`.
pub(super) fn name<'a>(node: &Node<'a>) -> Result<&'a str, Refusal> {
    let name = node.string()?;
    let start = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c));
    if start && rest && name.len() <= 64 { Ok(name) } else { node.refuse("Invalid function name") }
}

/// Checks `toolConfig` against the declared names.
pub(super) fn config(node: &Node<'_>, declared: Option<&[&str]>) -> Check {
    node.object(&["functionCallingConfig"], &[])?;
    let Some(declared) = declared else { return node.refuse("needs function declarations") };
    let config = node.known("functionCallingConfig")?;
    config.object(&["mode"], &["allowedFunctionNames"])?;
    let mode = config.known("mode")?;
    if !["AUTO", "ANY", "NONE", "VALIDATED"].contains(&mode.string()?) {
        return mode.refuse("is no function calling mode");
    }
    if let Some(allowed) = config.field("allowedFunctionNames") {
        if !["ANY", "VALIDATED"].contains(&mode.string()?) {
            return allowed.refuse("is only allowed with the modes ANY and VALIDATED");
        }
        for name in allowed.elements()? {
            if !declared.contains(&name.string()?) {
                return name.refuse("is not declared");
            }
        }
    }
    Ok(())
}

/// Checks the `parameters` of a function declaration alone.
pub fn parameters(parameters: &serde_json::Value) -> Check {
    object_schema(&Node { value: parameters, path: "parameters".to_owned() })
}

fn object_schema(node: &Node<'_>) -> Check {
    schema(node)?;
    if node.value["type"] == "OBJECT" { Ok(()) } else { node.refuse("parameters must be of type OBJECT") }
}

fn schema(node: &Node<'_>) -> Check {
    node.object(&["type"], &["description", "properties", "required", "items", "enum"])?;
    if let Some(description) = node.field("description") {
        description.string()?;
    }
    let kind_field = node.known("type")?;
    let kind = kind_field.string()?;
    if !["STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT"].contains(&kind) {
        return kind_field.refuse("is no schema type");
    }
    for (field, owner) in
        [("properties", "OBJECT"), ("required", "OBJECT"), ("items", "ARRAY"), ("enum", "STRING")]
    {
        if let Some(field) = node.field(field)
            && kind != owner
        {
            return field.refuse(format!("is only allowed for type {owner}"));
        }
    }
    match kind {
        "OBJECT" => object(node),
        "ARRAY" => match node.field("items") {
            Some(items) if items.value.is_array() => {
                items.refuse("Proto field is not repeating, cannot start list.")
            }
            Some(items) => schema(&items),
            None => node.refuse("items: missing field."),
        },
        "STRING" => {
            for value in node.field("enum").map(|values| values.elements()).transpose()?.unwrap_or_default() {
                value.filled()?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn object(node: &Node<'_>) -> Check {
    let Some(properties) = node.field("properties") else {
        return node.refuse("properties: should be non-empty for OBJECT type");
    };
    let Some(map) = properties.value.as_object() else { return properties.refuse("must be an object") };
    if map.is_empty() {
        return properties.refuse("should be non-empty for OBJECT type");
    }
    for (name, value) in map {
        schema(&Node { value, path: format!("{}.{name}", properties.path) })?;
    }
    let mut seen = Vec::new();
    for name in node.field("required").map(|names| names.elements()).transpose()?.unwrap_or_default() {
        let text = name.string()?;
        if !map.contains_key(text) {
            return name.refuse("property is not defined");
        }
        if seen.contains(&text) {
            return name.refuse("is listed twice");
        }
        seen.push(text);
    }
    Ok(())
}
