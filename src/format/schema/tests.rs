use proptest::prelude::*;
use serde_json::{Value, json};

use super::{MAX_NODES, convert};

/// Converts `schema` as the property `p` of a tool.
fn property(schema: &Value) -> Value {
    convert(&json!({"type": "object", "properties": {"p": schema}}))["properties"]["p"].clone()
}

#[test]
fn one_keyword_each() {
    for (schema, want) in [
        (json!(true), json!({"type": "STRING"})),
        (json!({}), json!({"type": "STRING"})),
        (json!({"enum": [1, 2]}), json!({"type": "INTEGER", "description": "Allowed: 1, 2"})),
        (json!({"enum": ["a", ""]}), json!({"type": "STRING", "description": "Allowed: a, ", "enum": ["a"]})),
        (json!({"const": "x"}), json!({"type": "STRING", "enum": ["x"]})),
        (json!({"items": {"type": "number"}}), json!({"type": "ARRAY", "items": {"type": "NUMBER"}})),
        (json!({"type": "array"}), json!({"type": "ARRAY", "items": {"type": "STRING"}})),
        (json!({"type": "any"}), json!({"type": "STRING"})),
        (json!({"type": "null"}), json!({"type": "STRING"})),
        (
            json!({"type": ["integer", "string", "null"]}),
            json!({"type": "INTEGER", "description": "Accepts: integer | string (nullable)"}),
        ),
        (
            json!({"anyOf": [{"const": "a"}, {"enum": ["b", "c"]}]}),
            json!({"type": "STRING", "description": "Allowed: a, b, c", "enum": ["a", "b", "c"]}),
        ),
        (
            json!({"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {}}),
            json!({"type": "OBJECT", "properties": {"reason": {"type": "STRING", "description": "Reason for calling this tool"}}, "required": ["reason"]}),
        ),
        (
            json!({"type": "integer", "exclusiveMinimum": 0, "maximum": 9, "default": 3}),
            json!({"type": "INTEGER", "description": "maximum: 9"}),
        ),
        (
            json!({"allOf": [{"allOf": [{"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]}]}]}),
            json!({"type": "OBJECT", "properties": {"k": {"type": "STRING"}}, "required": ["k"]}),
        ),
        (
            json!({"$ref": "https://elsewhere/Name"}),
            json!({"type": "OBJECT", "description": "See: Name",
            "properties": {"reason": {"type": "STRING", "description": "Reason for calling this tool"}}, "required": ["reason"]}),
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
    let union = json!({"anyOf": [{"properties": {"a": {"type": "string"}}}, {"type": "null"}]});
    assert_eq!(convert(&union), json!({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}));
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
    let mut definitions = serde_json::Map::new();
    for level in 0..10 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        let inner = json!({"type": "object", "properties": {"a": next, "b": next, "c": next, "d": next}});
        definitions.insert(format!("d{level}"), inner);
    }
    definitions.insert("d10".to_owned(), json!({"type": "string"}));
    let wide = json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/d0"}}, "$defs": definitions});
    assert!(convert(&wide).to_string().len() < MAX_NODES * 200);
}

fn schema() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        prop::sample::select(vec![
            "string", "integer", "number", "boolean", "array", "object", "null", "any"
        ])
        .prop_map(Value::from),
        Just(json!(["string", "null"])),
        Just(json!(["object", "array"])),
        Just(json!(5)),
    ];
    let leaf = prop_oneof![
        kind.clone().prop_map(|kind| json!({"type": kind, "minLength": 1, "pattern": "a(b)"})),
        Just(json!({"const": 1})),
        Just(json!({"enum": ["a", "b", null, 3]})),
        Just(json!({"$ref": "#/$defs/D", "description": "site"})),
        Just(json!(true)),
        Just(json!({"description": "d (x)", "title": "t", "additionalProperties": false})),
    ];
    leaf.prop_recursive(4, 40, 4, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4);
        let properties = prop::collection::vec(("[a-d]|type|required", inner.clone()), 0..4);
        prop_oneof![
            (list.clone(), prop::sample::select(vec!["anyOf", "oneOf", "allOf", "items", "prefixItems", "enum"]))
                .prop_map(|(list, key)| json!({key: list, "description": "x"})),
            (properties, kind.clone()).prop_map(|(properties, kind)| {
                let names: Vec<Value> = properties.iter().map(|(name, _)| name.as_str().into()).collect();
                let map: serde_json::Map<String, Value> = properties.into_iter().collect();
                json!({"properties": map, "required": names, "type": if names.is_empty() { kind } else { "object".into() }})
            }),
            inner.prop_map(|items| json!({"type": "array", "items": items, "minItems": 2})),
        ]
    })
}

/// Only what the upstream's schema type has.
fn check(node: &Value) {
    let node = node.as_object().unwrap();
    let kind = node["type"].as_str().unwrap();
    assert!(["STRING", "INTEGER", "NUMBER", "BOOLEAN", "ARRAY", "OBJECT"].contains(&kind), "{kind}");
    for (key, value) in node {
        match key.as_str() {
            "type" => {}
            "description" => assert!(value.is_string()),
            "properties" => {
                assert_eq!(kind, "OBJECT");
                value.as_object().unwrap().values().for_each(check);
            }
            "required" => {
                let names = value.as_array().unwrap();
                assert!(!names.is_empty());
                assert!(names.iter().all(|name| node["properties"].get(name.as_str().unwrap()).is_some()));
            }
            "items" => {
                assert_eq!(kind, "ARRAY");
                check(value);
            }
            "enum" => assert!(kind == "STRING" && value.as_array().unwrap().iter().all(Value::is_string)),
            other => panic!("{other}"),
        }
    }
    assert_eq!(kind == "OBJECT", node.contains_key("properties"));
    assert_eq!(kind == "ARRAY", node.contains_key("items"));
}

proptest! {
    #[test]
    fn results_are_plain_stable_and_keep_the_properties(
        properties in prop::collection::vec(("[a-z]{1,4}", schema()), 1..5),
        definition in schema(),
    ) {
        let map: serde_json::Map<String, Value> = properties.into_iter().collect();
        let root = json!({"type": "object", "properties": map, "$defs": {"D": definition}});
        let once = convert(&root);
        check(&once);
        let names = |schema: &Value| schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        prop_assert_eq!(names(&once), names(&root));
        prop_assert_eq!(once.to_string(), convert(&root).to_string());
        prop_assert_eq!(convert(&once).to_string(), once.to_string());
    }
}
