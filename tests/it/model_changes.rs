//! One conversation with several models: whatever the client keeps of the thoughts, nothing is refused upstream, and a
//! thought that its own model can take goes back to it.

use serde_json::{Value, json};

use crate::support::replicas::carry_on;
use crate::support::{GEMINI, PLAIN, THINKING, TestGateway, ask};

/// There and back, in both directions, by way of models that do not think.
const WAYS: [[&str; 7]; 4] = [
    [THINKING, GEMINI, THINKING, THINKING, GEMINI, GEMINI, THINKING],
    [GEMINI, THINKING, GEMINI, GEMINI, THINKING, THINKING, GEMINI],
    [THINKING, PLAIN, THINKING, "gemini-2.5-flash", GEMINI, PLAIN, THINKING],
    [GEMINI, "gemini-2.5-flash", PLAIN, THINKING, GEMINI, THINKING, THINKING],
];

/// What a client makes of the answers that it keeps.
const CLIENTS: [fn(&mut Value); 4] = [
    |_| {},
    |block| _ = block.as_object_mut().unwrap().remove("thoughtSignature"),
    |block| {
        block.as_object_mut().unwrap().remove("thoughtSignature");
        if block["type"] == "thinking" {
            *block = json!({"type": "redacted_thinking", "data": "AAAA"});
        }
    },
    |block| {
        block.as_object_mut().unwrap().remove("thoughtSignature");
        if block["type"] == "thinking" {
            *block = json!({"type": "text", "text": ""});
        }
    },
];

fn change(body: &mut Value, client: fn(&mut Value)) {
    for message in body["messages"].as_array_mut().unwrap() {
        for block in message["content"].as_array_mut().into_iter().flatten() {
            client(block);
        }
    }
}

#[tokio::test]
async fn a_tool_loop_goes_on_with_another_model() {
    let gateway = TestGateway::of(1).await;
    for way in WAYS {
        for (number, client) in CLIENTS.into_iter().enumerate() {
            for stream in [true, false] {
                let mut body = ask(way[0], "call 7 tools one after another", stream);
                for model in way {
                    body["model"] = json!(model);
                    let answer = gateway.client.send(&body).await;
                    assert_eq!(answer.status, 200, "{way:?} {number} {model}: {}", answer.body);
                    if !carry_on(&mut body, &answer, "done") {
                        body["messages"].as_array_mut().unwrap().extend([
                            json!({"role": "assistant", "content": answer.body["content"]}),
                            json!({"role": "user", "content": "call 2 tools one after another"}),
                        ]);
                    }
                    change(&mut body, client);
                }
            }
        }
    }
    gateway.settled().await;
}

/// A gateway that has never seen the conversation, and a client that puts a summary in place of its history.
#[tokio::test]
async fn a_cold_start_and_a_compaction_in_a_loop() {
    for way in WAYS {
        let warm = TestGateway::of(1).await;
        let mut body = ask(way[0], "call 3 tools one after another", true);
        for model in &way[..2] {
            body["model"] = json!(model);
            let answer = warm.client.send(&body).await;
            assert!(carry_on(&mut body, &answer, "done"), "{model}: {}", answer.body);
        }
        warm.settled().await;
        for model in [THINKING, GEMINI, PLAIN] {
            // Only the last exchange is left, behind a summary.
            let mut compacted = body.clone();
            let messages = compacted["messages"].as_array_mut().unwrap();
            let tail = messages.split_off(messages.len() - 2);
            *messages = vec![json!({"role": "user", "content": "Summary: tools were called."})];
            messages.extend(tail);
            for sent in [&mut body, &mut compacted] {
                sent["model"] = json!(model);
                let cold = TestGateway::of(1).await;
                for gateway in [&warm, &cold] {
                    let answer = gateway.client.send(sent).await;
                    assert_eq!(answer.status, 200, "{way:?} {model}: {}", answer.body);
                    gateway.settled().await;
                }
            }
        }
    }
}

/// A valid thought is not lost by a turn of the other family in between.
#[tokio::test]
async fn thoughts_come_back_to_the_family_that_had_them() {
    let gateway = TestGateway::of(1).await;
    let mut body = ask(THINKING, "call 4 tools one after another", true);
    for model in [THINKING, GEMINI] {
        body["model"] = json!(model);
        let answer = gateway.client.send(&body).await;
        assert!(carry_on(&mut body, &answer, "done"), "{model}: {}", answer.body);
    }
    let signed = |body: &Value| -> Vec<Value> {
        let turns = body["request"]["contents"].as_array().unwrap();
        let parts = turns.iter().flat_map(|turn| turn["parts"].as_array().unwrap());
        parts.filter(|part| part["thought"] == true).map(|part| part["thoughtSignature"].clone()).collect()
    };
    let first = body["messages"][1]["content"][0].clone();
    assert_eq!(first["type"], "thinking");
    for (model, kept) in [(THINKING, true), (GEMINI, false)] {
        body["model"] = json!(model);
        assert_eq!(gateway.client.send(&body).await.status, 200);
        let sent = gateway.model_calls().pop().unwrap().body;
        assert_eq!(signed(&sent).contains(&first["signature"]), kept, "{model}");
    }
    gateway.settled().await;
}
