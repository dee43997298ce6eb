//! Conversations with tools on both families.

use serde_json::json;

use super::{CLAUDE, GEMINI, Scenario, Talk};

#[tokio::test]
async fn tools_are_called_and_their_output_is_quoted() {
    for model in [CLAUDE, GEMINI, "claude-sonnet-4-6", "gemini-2.5-flash"] {
        let mut talk = Talk::new(model, Scenario::default()).await;
        talk.say("call 3 tools one after another");
        for step in 1..=3 {
            let heard = talk.hear().await;
            assert_eq!(heard.calls()[0]["args"]["command"], format!("echo step {step}"), "{model}");
            talk.keep(&heard);
            talk.give(&heard);
        }
        let last = talk.hear().await;
        assert!(last.text().contains("output of echo step 3"), "{model}: {}", last.text());
        assert_eq!(last.finish.as_deref(), Some("STOP"));
        assert_eq!(talk.simulator.refusals(), []);
    }
}

#[tokio::test]
async fn a_long_session_with_parallel_calls() {
    for model in [CLAUDE, GEMINI] {
        let mut talk = Talk::new(model, Scenario::default()).await;
        for turn in 0..10 {
            talk.say(&format!("run `a{turn}` and `b{turn}` in parallel"));
            let heard = talk.hear().await;
            assert_eq!(heard.calls().len(), 2);
            talk.keep(&heard);
            talk.give(&heard);
            let answer = talk.hear().await;
            assert!(answer.text().contains(&format!("output of b{turn}")));
            talk.keep(&answer);
        }
        assert_eq!(talk.simulator.refusals(), []);
        assert_eq!(talk.simulator.counts().complete, 20);
    }
}

#[tokio::test]
async fn thoughts_are_signed_as_the_family_does() {
    let mut talk = Talk::new(CLAUDE, Scenario::default()).await;
    talk.say("run `date`");
    let claude = talk.hear().await;
    assert_eq!(claude.parts[0]["thought"], true);
    assert!(claude.parts.iter().any(|part| part["thought"] == true && part["thoughtSignature"].is_string()));
    assert!(claude.calls()[0]["id"].is_string());
    assert!(claude.usage["thoughtsTokenCount"].as_u64().unwrap() > 0);

    // The signed thought belongs to its text and must come back.
    talk.keep(&claude);
    talk.give(&claude);
    let whole = talk.contents.clone();
    talk.contents[1]["parts"][0]["text"] = json!("something else");
    assert_eq!(talk.stream().await.status(), 400);
    talk.contents.clone_from(&whole);
    talk.contents[1]["parts"].as_array_mut().unwrap().remove(0);
    let refused = talk.stream().await.text().await.unwrap();
    assert!(refused.contains("Expected `thinking`"), "{refused}");
    talk.contents = whole;
    assert_eq!(talk.stream().await.status(), 200);

    let mut talk = Talk::new(GEMINI, Scenario::default()).await;
    talk.say("run `a` and `b` in parallel");
    let gemini = talk.hear().await;
    assert_eq!(gemini.parts[0]["thought"], true);
    let signed: Vec<_> = gemini
        .parts
        .iter()
        .filter(|part| part.get("functionCall").is_some())
        .map(|part| part.get("thoughtSignature").is_some())
        .collect();
    assert_eq!(signed, [true, false]);
}

#[tokio::test]
async fn the_json_endpoint_gives_one_document_without_thoughts() {
    let mut talk = Talk::new(CLAUDE, Scenario::default()).await;
    talk.say("write 50 words");
    let response = talk.post("generateContent", &talk.body()).send().await.unwrap();
    let answer: serde_json::Value = response.json().await.unwrap();
    let parts = answer["response"]["candidates"][0]["content"]["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 1);
    assert!(parts[0]["text"].as_str().unwrap().ends_with("word50"));
}

#[tokio::test]
async fn limits_and_stops_are_kept() {
    let mut talk = Talk::new("claude-sonnet-4-6", Scenario::default()).await;
    talk.say("write 500 words");
    let mut body = talk.body();
    body["request"]["generationConfig"] = json!({"maxOutputTokens": 10});
    let answer: serde_json::Value =
        talk.post("generateContent", &body).send().await.unwrap().json().await.unwrap();
    let candidate = &answer["response"]["candidates"][0];
    assert_eq!(candidate["finishReason"], "MAX_TOKENS");
    assert_eq!(answer["response"]["usageMetadata"]["candidatesTokenCount"], 10);
    body["request"]["generationConfig"] = json!({"stopSequences": ["word3"]});
    let answer: serde_json::Value =
        talk.post("generateContent", &body).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["response"]["candidates"][0]["content"]["parts"][0]["text"], "word1 word2 ");
}

#[tokio::test]
async fn usage_tells_the_cached_prefix() {
    let mut talk = Talk::new("claude-sonnet-4-6", Scenario::default()).await;
    talk.say("hello");
    let first = talk.hear().await;
    assert!(first.usage["promptTokenCount"].as_u64().unwrap() > 0);
    assert!(first.usage.get("cachedContentTokenCount").is_none());
    talk.keep(&first);
    talk.say("hello again");
    let second = talk.hear().await;
    let cached = second.usage["cachedContentTokenCount"].as_u64().unwrap();
    let prompt = second.usage["promptTokenCount"].as_u64().unwrap();
    assert!(cached > prompt / 2 && cached < prompt, "{cached} of {prompt}");
}
