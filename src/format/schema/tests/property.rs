//! Random schemas of draft 7 and 2020-12: what comes out is taken by the upstream, and no parameter is lost.

use std::collections::BTreeSet;

use super::*;
use crate::format::schema::tree::Tree;
use crate::simulator::validate::parameters;

/// Names that look like keywords among them.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-f]",
        1 => prop::sample::select(vec!["type", "properties", "required", "$ref", "items", "enum", "", "\u{e4}\u{1f600}", "a/b~"])
            .prop_map(str::to_owned),
    ]
}

fn reference() -> impl Strategy<Value = Value> {
    let to = ["#/$defs/A", "#/$defs/B", "#/definitions/C", "#", "#/$defs/none", "https://example.com/D"];
    (prop::sample::select(to.to_vec()), any::<bool>()).prop_map(|(to, described)| {
        if described { json!({"$ref": to, "description": "site"}) } else { json!({"$ref": to}) }
    })
}

fn leaf() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        prop::sample::select(vec!["string", "integer", "number", "boolean", "array", "null", "any", ""])
            .prop_map(Value::from),
        Just(json!(["string", "null"])),
        Just(json!(["integer", "array"])),
        Just(json!(5)),
    ];
    prop_oneof![
        kind.prop_map(|kind| json!({"type": kind, "minLength": 1, "pattern": "a(b)", "default": null})),
        Just(json!({"const": 1})),
        Just(json!({"const": {"a": [true]}})),
        Just(json!({"enum": ["a", "b", null, 3, "", "a"]})),
        Just(json!({"exclusiveMinimum": 0, "multipleOf": 2})),
        Just(
            json!({"type": "object", "additionalProperties": {"type": "string"}, "propertyNames": {"pattern": "x"}})
        ),
        Just(json!({"type": "string", "description": "d (x) \"\u{e9}\n", "title": "t", "format": "uri"})),
        Just(json!(true)),
        Just(json!({"not": {"type": "string"}, "$comment": "c", "contains": {}})),
        reference(),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 48, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4);
        let joining = prop::sample::select(vec!["anyOf", "oneOf", "allOf"]);
        let tuple = prop::sample::select(vec!["items", "prefixItems", "enum"]);
        prop_oneof![
            2 => (list.clone(), joining).prop_map(|(list, key)| json!({key: list, "description": "x"})),
            1 => (list, tuple).prop_map(|(list, key)| json!({key: list})),
            3 => object(inner.clone().boxed()),
            1 => inner.clone().prop_map(|items| json!({"type": "array", "items": items, "minItems": 2})),
            1 => (object(inner.clone().boxed()), inner).prop_map(|(then, otherwise)| {
                json!({"type": "object", "if": {"required": ["a"]}, "then": then, "else": otherwise})
            }),
        ]
    })
}

/// An object with some properties, all, none or unknown ones of which are required.
fn object(inner: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    let properties = prop::collection::vec((name(), inner), 0..5);
    (properties, prop::collection::vec(name(), 0..3), any::<bool>()).prop_map(
        |(properties, required, typed)| {
            let map: Map<String, Value> = properties.into_iter().collect();
            let mut schema = json!({"properties": map, "required": required, "additionalProperties": false});
            if typed {
                schema["type"] = json!("object");
            }
            schema
        },
    )
}

/// A tool's schema: an object, or something that stands for one, with definitions beside it.
fn root() -> impl Strategy<Value = Value> {
    let objects = || object(schema().boxed());
    let joined = prop::sample::select(vec!["anyOf", "oneOf", "allOf"]);
    let root = prop_oneof![
        4 => objects(),
        2 => (objects(), prop::collection::vec(prop_oneof![objects(), reference()], 1..4), joined).prop_map(|(mut root, list, key)| {
            root[key] = json!(list);
            root
        }),
        1 => reference(),
    ];
    (root, schema(), objects(), objects()).prop_map(|(mut root, a, b, c)| {
        root["$defs"] = json!({"A": a, "B": b});
        root["definitions"] = json!({"C": c});
        root
    })
}

/// The names of the parameters that `schema` speaks of at its top level.
fn parameters_of(schema: &Value, root: &Value, open: &mut Vec<String>, names: &mut BTreeSet<String>) {
    let is_object = |schema: &Value| match &schema["type"] {
        Value::String(kind) => kind == "object",
        Value::Array(kinds) => kinds[0] == "object",
        _ => true,
    };
    if !schema.is_object() || !is_object(schema) {
        return;
    }
    for list in ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array()) {
        for member in list {
            parameters_of(member, root, open, names);
        }
    }
    for key in ["then", "else"] {
        parameters_of(&schema[key], root, open, names);
    }
    if let Some(to) = schema["$ref"].as_str()
        && !open.iter().any(|other| other == to)
    {
        let target = to.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        open.push(to.to_owned());
        if let Some(target) = target {
            parameters_of(target, root, open, names);
        }
        open.pop();
    }
    names.extend(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
}

fn maps(schema: &Value) -> usize {
    match schema {
        Value::Object(map) => 1 + map.values().map(maps).sum::<usize>(),
        Value::Array(list) => list.iter().map(maps).sum(),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn no_parameter_is_lost_and_none_made_up(root in root()) {
        let once = convert(&root);
        if let Err(refusal) = parameters(&once) {
            return Err(TestCaseError::fail(format!("{}\n{once}", refusal.message())));
        }
        let mut wanted = BTreeSet::new();
        parameters_of(&root, &root, &mut Vec::new(), &mut wanted);
        let got: BTreeSet<String> = once["properties"].as_object().unwrap().keys().cloned().collect();
        if wanted.is_empty() {
            prop_assert_eq!(got, BTreeSet::from(["reason".to_owned()]));
        } else {
            prop_assert_eq!(got, wanted);
        }
        prop_assert_eq!(once.to_string(), convert(&root).to_string());
        prop_assert_eq!(convert(&once).to_string(), once.to_string());
    }

    #[test]
    fn work_is_linear(root in object(schema().boxed())) {
        // Inlining is bounded by itself.
        let text = root.to_string().replace("$ref", "x-ref");
        let tree = Tree::read(&text).unwrap();
        let mut pass = crate::format::schema::Pass::new(&tree);
        let view = pass.view(&crate::format::schema::Schema::One(&tree), 0);
        pass.write(&mut Vec::new(), view, crate::format::schema::Kind::Object, 0, true);
        prop_assert!(pass.nodes <= 3 * maps(&root), "{} nodes for {} maps", pass.nodes, maps(&root));
    }
}
