//! A client that goes away cancels the upstream call, and its attempt is settled.

use std::time::Duration;

use antigravity_proxy::simulator::{Event, Scenario};
use serde_json::json;

use crate::support::{GEMINI, TestGateway, ask};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn in_the_middle_of_a_stream() {
    let gateway = TestGateway::start(Scenario::default(), |_| {}).await;
    gateway.fault(&json!({}), &json!({"stall_after": 2}));
    let mut response = gateway.client.begin(&ask(GEMINI, "write 500 words", true)).await;
    assert!(response.chunk().await.unwrap().is_some());
    assert_eq!(gateway.in_flight().await, 1);
    let before = gateway.simulator.counts().disconnects;
    drop(response);
    assert!(gateway.simulator.wait_for(Event::Disconnect, before + 1, SECOND).await);
    gateway.settled().await;
}

#[tokio::test]
async fn before_the_first_byte() {
    for stream in [true, false] {
        let gateway = TestGateway::start(Scenario::default(), |_| {}).await;
        gateway.fault(&json!({}), &json!({"stall_after": 0}));
        let body = ask(GEMINI, "hello", stream);
        {
            let waiting = gateway.client.begin(&body);
            tokio::pin!(waiting);
            let called = async {
                while gateway.model_calls().is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                _ = &mut waiting => panic!("there is no answer"),
                called = tokio::time::timeout(10 * SECOND, called) => called.unwrap(),
            }
        }
        assert!(gateway.simulator.wait_for(Event::Disconnect, 1, SECOND).await, "stream: {stream}");
        gateway.settled().await;
    }
}
