use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::MAX_NODES;

mod property;

fn convert(schema: &Value) -> Value {
    serde_json::from_slice(&super::convert(&schema.to_string())).unwrap()
}

/// Converts `schema` as the property `p` of a tool.
fn property(schema: &Value) -> Value {
    convert(&json!({"type": "object", "properties": {"p": schema}}))["properties"]["p"].clone()
}

/// An object without properties of its own, described so.
fn empty(description: &str) -> Value {
    json!({"type": "OBJECT", "description": description,
        "properties": {"reason": {"type": "STRING", "description": "Reason for calling this tool"}}, "required": ["reason"]})
}

#[test]
fn one_keyword_each() {
    for (schema, want) in [
        (json!(true), json!({"type": "STRING"})),
        (json!({}), json!({"type": "STRING"})),
        (json!({"enum": [1, 2]}), json!({"type": "INTEGER", "description": "Allowed: 1, 2"})),
        (json!({"const": 1.5}), json!({"type": "NUMBER", "description": "Allowed: 1.5"})),
        (json!({"enum": ["a", ""]}), json!({"type": "STRING", "description": "Allowed: a, ", "enum": ["a"]})),
        (
            json!({"enum": ["a", null]}),
            json!({"type": "STRING", "description": "nullable (Allowed: a, null)", "enum": ["a"]}),
        ),
        (json!({"const": "x"}), json!({"type": "STRING", "enum": ["x"]})),
        (json!({"const": {"k": [1, null]}}), json!({"type": "STRING", "enum": ["{\"k\":[1,null]}"]})),
        (json!({"items": {"type": "number"}}), json!({"type": "ARRAY", "items": {"type": "NUMBER"}})),
        (json!({"type": "array"}), json!({"type": "ARRAY", "items": {"type": "STRING"}})),
        (json!({"type": "array", "items": true}), json!({"type": "ARRAY", "items": {"type": "STRING"}})),
        (
            json!({"prefixItems": [{"type": "string"}, {"type": "number"}], "items": false}),
            json!({"type": "ARRAY", "items": {"type": "STRING", "description": "Accepts: string | number"}}),
        ),
        (json!({"type": "any"}), json!({"type": "STRING"})),
        (json!({"type": "null"}), json!({"type": "STRING", "description": "nullable"})),
        (
            json!({"type": ["integer", "string", "null"]}),
            json!({"type": "INTEGER", "description": "Accepts: integer | string (nullable)"}),
        ),
        (
            json!({"type": "integer", "exclusiveMinimum": 0, "maximum": 9, "default": 3, "title": "T", "examples": [1]}),
            json!({"type": "INTEGER", "description": "maximum: 9 (exclusiveMinimum: 0)"}),
        ),
        (json!({"minimum": 1}), json!({"type": "NUMBER", "description": "minimum: 1"})),
        (json!({"pattern": "^a"}), json!({"type": "STRING", "description": "pattern: ^a"})),
        (
            json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}),
            json!({"type": "ARRAY", "description": "uniqueItems: true", "items": {"type": "STRING"}}),
        ),
        (
            json!({"type": "string", "description": "a \"b\" \u{e9}", "minLength": 1}),
            json!({"type": "STRING", "description": "a \"b\" \u{e9} (minLength: 1)"}),
        ),
    ] {
        assert_eq!(property(&schema), want, "{schema}");
    }
}

#[test]
fn objects_that_are_maps_say_so() {
    for (schema, want) in [
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            empty("Other properties: string"),
        ),
        (
            json!({"additionalProperties": {"anyOf": [{}]}, "propertyNames": {"enum": ["a", "b"]}}),
            empty("Other properties: any (Property names: a, b)"),
        ),
        (
            json!({"type": "object", "patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": false}),
            empty("No extra properties allowed (Properties matching ^x-: integer)"),
        ),
        (
            json!({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": true}),
            empty("Property names match ^[a-z]+$"),
        ),
    ] {
        assert_eq!(property(&schema), want, "{schema}");
    }
}

#[test]
fn unions_lose_no_property() {
    let options = json!({"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"], "oneOf": [
        {"properties": {"kind": {"const": "file"}, "path": {"type": "string"}, "size": {"type": "integer"}},
         "required": ["kind", "path"]},
        {"properties": {"kind": {"const": "url"}, "url": {"type": "string"}, "size": {"type": "integer"}},
         "required": ["kind", "url"]},
    ]});
    let want = json!({"type": "OBJECT", "description": "One of: kind, path, size | kind, url, size", "properties": {
        "id": {"type": "STRING"},
        "kind": {"type": "STRING", "description": "Allowed: file, url", "enum": ["file", "url"]},
        "path": {"type": "STRING"}, "size": {"type": "INTEGER"}, "url": {"type": "STRING"}},
        "required": ["id", "kind"]});
    assert_eq!(convert(&options), want);

    for (schema, want) in [
        (
            json!({"anyOf": [{"const": "a"}, {"enum": ["b", "c"]}]}),
            json!({"type": "STRING", "description": "Allowed: a, b, c", "enum": ["a", "b", "c"]}),
        ),
        (
            json!({"oneOf": [{"const": "a", "description": "first"}, {"const": "b", "description": "second"}]}),
            json!({"type": "STRING", "description": "a: first; b: second (Allowed: a, b)", "enum": ["a", "b"]}),
        ),
        (
            json!({"anyOf": [
                {"properties": {"k": {"type": "string"}}, "enum": [{"k": "a"}]},
                {"properties": {"n": {"type": "integer"}}, "const": {"n": 1}}]}),
            json!({"type": "OBJECT", "description": "One of: k | n (Allowed: {\"k\":\"a\"})",
                   "properties": {"k": {"type": "STRING"}, "n": {"type": "INTEGER"}}}),
        ),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "string", "format": "uri"}]}),
            json!({"type": "STRING"}),
        ),
        (
            json!({"description": "d", "anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}),
            json!({"type": "ARRAY", "description": "d (nullable)", "items": {"type": "INTEGER"}}),
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}},
                   "if": {"properties": {"a": {"const": "x"}}}, "then": {"properties": {"b": {"type": "integer"}}, "required": ["b"]}}),
            json!({"type": "OBJECT", "properties": {"a": {"type": "STRING"}, "b": {"type": "INTEGER"}}}),
        ),
        (
            json!({"allOf": [{"allOf": [{"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]}]}]}),
            json!({"type": "OBJECT", "properties": {"k": {"type": "STRING"}}, "required": ["k"]}),
        ),
    ] {
        assert_eq!(property(&schema), want, "{schema}");
    }
}

#[test]
fn roots_are_always_objects() {
    let placeholder = convert(&json!({}));
    assert_eq!(placeholder["required"], json!(["reason"]));
    for root in [
        json!(null),
        json!(true),
        json!([]),
        json!({"type": "string"}),
        json!({"type": "object", "properties": {}}),
    ] {
        assert_eq!(convert(&root), placeholder, "{root}");
    }
    assert_eq!(super::convert("{\"no\": json"), super::placeholder());
    let a = json!({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}});
    for root in [
        json!({"anyOf": [{"properties": {"a": {"type": "string"}}}, {"type": "null"}]}),
        json!({"allOf": [{"properties": {"a": {"type": "string"}}}]}),
        json!({"$ref": "#/definitions/A", "definitions": {"A": {"type": "object", "properties": {"a": {"type": "string"}}}}}),
        json!({"type": ["object", "null"], "properties": {"a": {"type": "string"}}}),
    ] {
        assert_eq!(convert(&root), a, "{root}");
    }
}

#[test]
fn references_are_found() {
    let root = |reference: &str| {
        json!({"type": "object", "properties": {"p": {"$ref": reference, "description": "site"}},
            "$defs": {"a/b~c d": {"type": "integer", "description": "own"}, "G": {"$defs": {"H": {"type": "boolean"}}},
                      "L": {"anyOf": [{"type": "number"}]}}})
    };
    for (reference, want) in [
        ("#/$defs/a~1b~0c%20d", json!({"type": "INTEGER", "description": "site"})),
        ("#/$defs/G/$defs/H", json!({"type": "BOOLEAN", "description": "site"})),
        ("#/$defs/L/anyOf/0", json!({"type": "NUMBER", "description": "site"})),
        ("#/$defs/none", empty("site (See: none)")),
        ("https://elsewhere/Name", empty("site (See: Name)")),
        ("#anchor", empty("site (See: #anchor)")),
    ] {
        assert_eq!(convert(&root(reference))["properties"]["p"], want, "{reference}");
    }
    // One definition used by two siblings, and by the option of a union that loses, is no cycle.
    let shared = json!({"type": "object", "properties": {
        "p": {"anyOf": [{"$ref": "#/$defs/S"}, {"type": "object", "properties": {"a": {"$ref": "#/$defs/S"}, "b": {"$ref": "#/$defs/S"}}}]}},
        "$defs": {"S": {"type": "integer"}}});
    let p = &convert(&shared)["properties"]["p"];
    assert_eq!(
        (&p["properties"]["a"]["type"], &p["properties"]["b"]["type"]),
        (&json!("INTEGER"), &json!("INTEGER"))
    );
}

#[test]
fn references_end() {
    let cycle = json!({"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}},
        "$defs": {"N": {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}, "v": {"type": "string"}}}}});
    let node = &convert(&cycle)["properties"]["n"];
    assert_eq!(node["properties"]["v"]["type"], "STRING");
    assert_eq!(node["properties"]["next"]["description"], "See: N");
    assert_eq!(convert(&json!({"$ref": "#"}))["type"], "OBJECT");

    // Each definition uses the next one four times: inlined without a limit this has a million nodes.
    let mut definitions = Map::new();
    for level in 0..10 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        let inner = json!({"type": "object", "properties": {"a": next, "b": next, "c": next, "d": next}});
        definitions.insert(format!("d{level}"), inner);
    }
    definitions.insert("d10".to_owned(), json!({"type": "string"}));
    let wide = json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/d0"}}, "$defs": definitions});
    assert!(convert(&wide).to_string().len() < MAX_NODES * 200);
}

/// As deep as the reader of requests lets through; the stack of a test is smaller than that of a worker.
#[test]
fn depth_is_bounded() {
    for (before, inner, after) in [
        (r#"{"anyOf":["#, r#"{"type":"string"}"#, "]}"),
        (r#"{"allOf":["#, r#"{"type":"string"}"#, "]}"),
        (r#"{"type":"array","items":"#, r#"{"type":"string"}"#, "}"),
        (r#"{"type":"array","items":["#, r#"{"type":"string"}"#, "]}"),
        (r#"{"properties":{"p":"#, r##"{"$ref":"#"}"##, "}}"),
        (r#"{"then":"#, r##"{"$ref":"#"}"##, "}"),
    ] {
        let levels = 120 / before.matches(['{', '[']).count();
        let schema = [&before.repeat(levels), inner, &after.repeat(levels)].concat();
        let once = super::convert(&format!(r#"{{"type":"object","properties":{{"p":{schema}}}}}"#));
        let once: Value = serde_json::from_slice(&once).unwrap();
        assert_eq!(convert(&once), once);
    }
    let definitions: Map<String, Value> = (0..300)
        .map(|n| (format!("d{n}"), json!({"allOf": [{"$ref": format!("#/$defs/d{}", n + 1)}]})))
        .collect();
    let chain = json!({"properties": {"p": {"$ref": "#/$defs/d0"}}, "$defs": definitions});
    assert_eq!(convert(&chain)["properties"]["p"]["type"], "STRING");
}
