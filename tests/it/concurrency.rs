//! Many conversations at once.

use antigravity_proxy::simulator::{Delivery, Mode, Scenario};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{GEMINI, PLAIN, THINKING, TestGateway, ask};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tool_loops() {
    let mut scenario = Scenario::default().with_accounts(8);
    scenario.delivery = Delivery { mode: Mode::Burst, ..Delivery::default() };
    let gateway = TestGateway::start(scenario, |_| {}).await;
    futures_util::stream::iter(0..200).for_each_concurrent(32, |number| talk(&gateway, number)).await;
    gateway.settled().await;
    let calls = gateway.model_calls();
    assert_eq!(calls.len(), 800);
    assert!(calls.iter().all(|call| call.status == 200));
}

async fn talk(gateway: &TestGateway, number: usize) {
    let model = [THINKING, PLAIN, GEMINI][number % 3];
    let mut body =
        ask(model, &format!("call 3 tools one after another, number {number}"), number.is_multiple_of(2));
    for turn in 0..4 {
        let answer = gateway.client.send(&body).await;
        assert_eq!(answer.status, 200, "{number}/{turn}: {}", answer.body);
        let content = answer.body["content"].as_array().unwrap().clone();
        let call = content.iter().find(|block| block["type"] == "tool_use");
        assert_eq!(call.is_some(), turn < 3, "{number}/{turn}: {}", answer.body);
        let Some(call) = call else { return };
        let result =
            json!({"type": "tool_result", "tool_use_id": call["id"], "content": format!("out {turn}")});
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": Value::from(content.clone())}));
        messages.push(json!({"role": "user", "content": [result]}));
    }
}
