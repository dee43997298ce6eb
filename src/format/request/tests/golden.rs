//! The pairs of the conversion's specification. `specified` is what the first implementation of this API does; where
//! ours is better, `wanted` is what we do and `because` names the entries of spec `conversion.md` §13.

use serde_json::Value;

use super::{inner, spelled_out};

fn pair(text: &str) -> (Value, Value) {
    let golden: Value = serde_json::from_str(text).unwrap();
    let want = golden.get("wanted").unwrap_or(&golden["specified"]);
    if golden.get("wanted").is_some() {
        assert!(!golden["because"].as_array().unwrap().is_empty());
    }
    (golden["input"].clone(), want.clone())
}

macro_rules! requests {
    ($($name:ident $file:literal)*) => {$(
        #[test]
        fn $name() {
            let (input, want) = pair(include_str!(concat!("../../../../tests/golden/conversion/", $file, ".json")));
            let want: Value = serde_json::from_str(&spelled_out(&want.to_string())).unwrap();
            let got = inner(&input, input["model"].as_str().unwrap());
            assert!(got == want, "got\n{got}\nwant\n{want}");
        }
    )*};
}

requests! { r1 "R1" r2 "R2" r3 "R3" r4 "R4" r5 "R5" r6 "R6" r7 "R7" r8 "R8" }

fn schema(input: &Value) -> Value {
    serde_json::from_slice(&crate::format::schema::convert(&input.to_string())).unwrap()
}

macro_rules! schemas {
    ($($name:ident $file:literal)*) => {$(
        #[test]
        fn $name() {
            let (input, want) = pair(include_str!(concat!("../../../../tests/golden/conversion/", $file, ".json")));
            let got = schema(&input);
            assert!(got == want, "got\n{got}\nwant\n{want}");
        }
    )*};
}

schemas! { s1 "S1" s2 "S2" c1 "C1" c2 "C2" }

/// The root of C3 is no object, so it is converted as a property.
#[test]
fn c3() {
    let (input, want) = pair(include_str!("../../../../tests/golden/conversion/C3.json"));
    let got = schema(&serde_json::json!({"properties": {"p": input}}));
    assert_eq!(got["properties"]["p"], want);
}
