use std::sync::Arc;

use super::ToolCache;
use crate::anthropic::request::MessagesRequest;
use crate::google::model::Family;

fn body(name: &str) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":"q"}}],"tools":[{{"name":"{name}","description":"a \"b\""}}]}}"#
    )
}

#[test]
fn declarations_are_kept_by_their_bytes_up_to_the_capacity() {
    let cache = ToolCache::new(2);
    let bodies = ["a", "b", "c"].map(body);
    let declared = |index: usize, family| {
        let request = MessagesRequest::parse(bodies[index].as_bytes()).unwrap();
        cache.declared(request.tools.as_ref().unwrap(), family)
    };
    let first = declared(0, Family::Claude);
    assert!(Arc::ptr_eq(&first, &declared(0, Family::Claude)));
    assert!(!Arc::ptr_eq(&first, &declared(0, Family::Gemini)));
    declared(1, Family::Claude);
    declared(2, Family::Claude);
    assert_eq!(cache.len(), 2);
    assert!(!Arc::ptr_eq(&first, &declared(0, Family::Claude)), "the oldest made room");
}
