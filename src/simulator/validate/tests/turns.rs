//! What turns may look like beyond their single parts.

use serde_json::json;

use super::{CLAUDE, PLAIN_CLAUDE, check, good};

#[test]
fn a_conversation_that_never_had_thoughts_may_go_on_without() {
    let mut body = good(CLAUDE);
    let contents = &mut body["request"]["contents"];
    contents[1]["parts"].as_array_mut().unwrap().remove(0);
    contents[1]["parts"][0]["functionCall"]["id"] = json!("toolu_foreign");
    contents[2]["parts"][0]["functionResponse"]["id"] = json!("toolu_foreign");
    check(&body).unwrap();
}

#[test]
fn an_id_names_one_call_of_the_conversation() {
    let mut body = good(PLAIN_CLAUDE);
    let contents = body["request"]["contents"].as_array_mut().unwrap();
    contents.extend(contents[1..].to_vec());
    let refusal = check(&body).unwrap_err();
    assert_eq!(refusal.path, "request.contents[3].parts[0].functionCall");
}

#[test]
fn a_thought_is_not_the_end_of_a_turn() {
    let mut body = good(CLAUDE);
    let contents = body["request"]["contents"].as_array_mut().unwrap();
    contents[1]["parts"].as_array_mut().unwrap().truncate(1);
    contents[2]["parts"].as_array_mut().unwrap().remove(0);
    assert_eq!(check(&body).unwrap_err().path, "request.contents[1].parts[0]");
}
