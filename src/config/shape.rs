//! What a form needs to know of a setting: type, range, unit, default.

use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::setting::{Kind, Setting};
use super::values::json;

/// A setting as a form shows it. Lists of texts are arrays of strings; what a text must look like is in `allowed`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = SettingShape)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    /// `boolean`, `integer`, `number`, `string`, `array` or `object`.
    #[serde(rename = "type")]
    #[schema(required = false)]
    pub kind: &'static str,
    /// The built-in value; `null` where there is none, or where it follows from the surroundings.
    #[schema(required = false, value_type = Value)]
    pub default: Json,
    /// Least allowed number, of an array's items where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// Largest allowed number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// The number must be less than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclusive_maximum: Option<f64>,
    /// Allowed values, where there are only these.
    #[serde(rename = "enum", skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, value_type = Vec<Value>)]
    pub choices: Vec<Json>,
    /// `ms`, `bytes` or `fraction`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// What is allowed, in words.
    #[schema(required = false)]
    pub allowed: String,
    /// What it does.
    #[schema(required = false)]
    pub description: &'static str,
    /// The heading under which the manual has it.
    #[schema(required = false)]
    pub section: &'static str,
    /// Whether its value is never shown.
    #[schema(required = false)]
    pub secret: bool,
}

impl Setting {
    /// What a form needs to know of it.
    #[must_use]
    pub fn shape(&'static self) -> Shape {
        let mut shape = Shape {
            kind: "string",
            default: self.built_in().map_or(Json::Null, |kind| json(&kind)),
            minimum: None,
            maximum: None,
            exclusive_maximum: None,
            choices: Vec::new(),
            unit: None,
            allowed: self.kind.allowed(),
            description: self.meaning,
            section: self.section.title(),
            secret: self.is_secret(),
        };
        let words = |words: &[&str]| words.iter().map(|&word| Json::from(word)).collect();
        match self.kind {
            Kind::Bool => shape.kind = "boolean",
            Kind::Int(min, max) => shape.bounded("integer", min, max, None),
            Kind::Millis(min, max) => shape.bounded("integer", min, max, Some("ms")),
            Kind::IntChoice(values) => {
                shape.kind = "integer";
                shape.choices = values.iter().map(|&value| Json::from(value)).collect();
            }
            Kind::Number(min, max) => {
                (shape.kind, shape.minimum, shape.maximum) = ("number", Some(min), Some(max));
            }
            Kind::Fraction => {
                (shape.kind, shape.minimum, shape.exclusive_maximum) = ("number", Some(0.0), Some(1.0));
                shape.unit = Some("fraction");
            }
            Kind::Bytes(min, max) => {
                let (min, max) = (i64::try_from(min).unwrap_or(0), i64::try_from(max).unwrap_or(i64::MAX));
                shape.bounded("integer", min, max, Some("bytes"));
            }
            Kind::Tiers(min, max) => shape.bounded("array", min, max, Some("ms")),
            Kind::Choice(known) => shape.choices = words(known),
            Kind::Strategy => shape.choices = words(&["hybrid", "round-robin", "sticky"]),
            Kind::List
            | Kind::Networks
            | Kind::Origins
            | Kind::SecretList
            | Kind::UrlList(_)
            | Kind::KeyRing => {
                shape.kind = "array";
            }
            Kind::ModelMapping | Kind::ClaudeProfile | Kind::Aliases | Kind::TextMap => shape.kind = "object",
            Kind::Text
            | Kind::Header
            | Kind::Name
            | Kind::LogFilter
            | Kind::Address
            | Kind::Url(_)
            | Kind::BareUrl(_)
            | Kind::SecretUrl(_)
            | Kind::RedisUrl
            | Kind::RedisAddress
            | Kind::Secret
            | Kind::Path
            | Kind::File
            | Kind::Pairs
            | Kind::SecretHeaders => {}
        }
        shape
    }
}

impl Shape {
    fn bounded(&mut self, kind: &'static str, min: i64, max: i64, unit: Option<&'static str>) {
        #[expect(clippy::cast_precision_loss, reason = "ranges end far below 2^53")]
        let float = |number: i64| Some(number as f64);
        (self.kind, self.minimum, self.maximum, self.unit) = (kind, float(min), float(max), unit);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::config::{SETTINGS, Setting};

    fn shape(key: &str) -> serde_json::Value {
        json!(Setting::find(key).unwrap().shape())
    }

    #[test]
    fn shapes_tell_types_ranges_and_units() {
        for (key, members) in [
            (
                "retryBaseMs",
                json!({"type": "integer", "minimum": 100.0, "maximum": 10000.0, "unit": "ms", "default": 1000}),
            ),
            (
                "globalQuotaThreshold",
                json!({"type": "number", "minimum": 0.0, "exclusiveMaximum": 1.0, "default": 0, "unit": "fraction"}),
            ),
            (
                "accountSelection.strategy",
                json!({"type": "string", "enum": ["hybrid", "round-robin", "sticky"], "default": "hybrid"}),
            ),
            ("quotaExhaustedStatus", json!({"type": "integer", "enum": [429, 400]})),
            (
                "capacityBackoffTiersMs",
                json!({"type": "array", "minimum": 1000.0, "unit": "ms", "default": [5000, 10000, 20000, 30000, 60000]}),
            ),
            (
                "accountSelection.weights.lru",
                json!({"type": "number", "minimum": 0.0, "maximum": 5.0, "default": 0.1}),
            ),
            ("requestBodyLimit", json!({"type": "integer", "unit": "bytes", "default": 52_428_800})),
            ("modelMapping", json!({"type": "object", "default": {}})),
            ("devMode", json!({"type": "boolean", "default": false, "section": "Server", "secret": false})),
            ("apiKey", json!({"type": "array", "default": null, "secret": true})),
            ("dataDir", json!({"type": "string", "default": null})),
        ] {
            let shape = shape(key);
            for (name, value) in members.as_object().unwrap() {
                assert_eq!(&shape[name], value, "{key}: {name}");
            }
        }
    }

    #[test]
    fn every_setting_has_a_shape_that_says_what_is_allowed() {
        for setting in SETTINGS {
            let shape = shape(setting.key);
            assert!(!shape["allowed"].as_str().unwrap().is_empty(), "{}", setting.key);
            assert!(shape["description"].as_str().unwrap().ends_with('.'), "{}", setting.key);
            assert!(!shape["section"].as_str().unwrap().is_empty(), "{}", setting.key);
            // The bounds are those that are enforced.
            if let (Some(min), Some(max)) = (shape["minimum"].as_f64(), shape["maximum"].as_f64())
                && shape["type"] != "array"
                && setting.is_shared()
            {
                for (value, fits) in [(min, true), (max, true), (min - 1.0, false), (max + 1.0, false)] {
                    assert_eq!(setting.stored(&json!(value)).is_ok(), fits, "{}: {value}", setting.key);
                }
            }
        }
    }
}
