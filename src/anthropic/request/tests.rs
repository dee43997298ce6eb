use super::{Block, Content, Effort, MessagesRequest, ResultContent, ThinkingMode, ToolChoice};

fn refusal(body: &[u8]) -> String {
    match MessagesRequest::parse(body) {
        Ok(_) => panic!("accepted: {}", String::from_utf8_lossy(body)),
        Err(error) => error.message,
    }
}

fn parse(body: &str) -> MessagesRequest<'_> {
    MessagesRequest::parse(body.as_bytes()).unwrap_or_else(|e| panic!("{e}: {body}"))
}

/// A request whose only block is `block`.
fn with_block(role: &str, block: &str) -> String {
    format!(r#"{{"messages":[{{"role":"{role}","content":[{block}]}}]}}"#)
}

/// A valid request with one more field.
fn with_field(field: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":"q"}}],{field}}}"#)
}

#[test]
fn syntax_errors_name_the_byte() {
    let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
    let bodies: &[(&[u8], &str)] = &[
        (b"", "invalid JSON at byte 0: "),
        (b"{", "invalid JSON at byte 1: "),
        (b"{\"messages\":[{\"role\":\"us", "invalid JSON at byte 24: unexpected end of input"),
        (b"{\"messages\":[]", "messages: at least one message is required"),
        (b"{\"model\":\"a\xff\"}", "invalid JSON at byte 11: invalid UTF-8"),
        (b"{\"model\":\"\xc3", "invalid JSON at byte 10: invalid UTF-8"),
        (b"{\"model\":\"a\nb\"}", "invalid JSON at byte 11: control character"),
        (b"{\"model\":\"\\x\"}", "invalid JSON at byte 11: invalid escape"),
        (b"{'model':1}", "invalid JSON at byte 1: expected a key"),
        (b"{\"model\" \"a\"}", "invalid JSON at byte 9: expected `:`"),
        (b"{\"model\":\"a\" \"b\":1}", "invalid JSON at byte 13: expected `,`"),
        (b"{\"model\":\"a\",}", "invalid JSON at byte 13: expected a key"),
        (b"{\"max_tokens\":01}", "invalid JSON at byte 15: "),
        (b"{\"temperature\":1e999}", "invalid JSON at byte 15: number out of range"),
        (b"{\"x\":nope}", "invalid JSON at byte 6: "),
        (deep.as_bytes(), "invalid JSON at byte 100: nested deeper than 96 levels"),
    ];
    for (body, want) in bodies {
        let message = refusal(body);
        assert!(
            message.starts_with(want),
            "{}: {message}",
            String::from_utf8_lossy(&body[..body.len().min(80)])
        );
    }
    let trailing = format!("{}x", with_field(r#""a":1"#));
    assert_eq!(
        refusal(trailing.as_bytes()),
        format!("invalid JSON at byte {}: unexpected text after the value", trailing.len() - 1)
    );
}

#[test]
fn wrong_types_name_the_path() {
    for (body, want) in [
        ("[]", "request body: expected an object, got array"),
        ("null", "request body: expected an object, got null"),
        ("7", "request body: expected an object, got number"),
        ("{}", "messages: field required"),
        (r#"{"messages":null}"#, "messages: expected an array, got null"),
        (r#"{"messages":{}}"#, "messages: expected an array, got object"),
        (r#"{"messages":"hi"}"#, "messages: expected an array, got string"),
        (r#"{"messages":[]}"#, "messages: at least one message is required"),
        (r#"{"messages":[null]}"#, "messages.0: expected an object, got null"),
        (r#"{"messages":["hi"]}"#, "messages.0: expected an object, got string"),
        (r#"{"messages":[{}]}"#, "messages.0.role: field required"),
        (r#"{"messages":[{"role":null,"content":"x"}]}"#, "messages.0.role: expected a string, got null"),
        (r#"{"messages":[{"role":7,"content":"x"}]}"#, "messages.0.role: expected a string, got number"),
        (
            r#"{"messages":[{"role":"tool","content":"x"}]}"#,
            "messages.0.role: expected \"user\" or \"assistant\"",
        ),
        (
            r#"{"messages":[{"role":"model","content":"x"}]}"#,
            "messages.0.role: expected \"user\" or \"assistant\"",
        ),
        (r#"{"messages":[{"role":"user"}]}"#, "messages.0.content: field required"),
        (
            r#"{"messages":[{"role":"user","content":null}]}"#,
            "messages.0.content: expected a string or an array, got null",
        ),
        (
            r#"{"messages":[{"role":"user","content":{}}]}"#,
            "messages.0.content: expected a string or an array, got object",
        ),
        (
            r#"{"messages":[{"role":"user","content":"a"},{"role":"user","content":5}]}"#,
            "messages.1.content: expected a string or an array, got number",
        ),
        (&with_block("user", "null"), "messages.0.content.0: expected an object, got null"),
        (&with_block("user", "\"text\""), "messages.0.content.0: expected an object, got string"),
        (&with_block("user", "{}"), "messages.0.content.0.type: field required"),
        (&with_block("user", r#"{"type":1}"#), "messages.0.content.0.type: expected a string, got number"),
        (&with_block("user", r#"{"type":"text"}"#), "messages.0.content.0.text: field required"),
        (
            &with_block("user", r#"{"type":"text","text":5}"#),
            "messages.0.content.0.text: expected a string, got number",
        ),
        (
            &with_block("user", r#"{"text":null,"type":"text"}"#),
            "messages.0.content.0.text: expected a string, got null",
        ),
        (&with_block("user", r#"{"type":"image"}"#), "messages.0.content.0.source: field required"),
        (
            &with_block("user", r#"{"type":"image","source":"x"}"#),
            "messages.0.content.0.source: expected an object, got string",
        ),
        (
            &with_block("user", r#"{"source":{"type":"base64","data":1,"media_type":"a"},"type":"image"}"#),
            "messages.0.content.0.source.data: expected a string, got number",
        ),
        (
            &with_block("user", r#"{"type":"document","source":{"type":"base64","data":"A"}}"#),
            "messages.0.content.0.source.media_type: field required",
        ),
        (
            &with_block("user", r#"{"type":"image","source":{"type":"url"}}"#),
            "messages.0.content.0.source.url: field required",
        ),
        (
            &with_block("user", r#"{"type":"odd"},{"type":"tool_use","id":"a","name":"f"}"#),
            "messages.0.content.1: tool_use blocks belong into assistant messages",
        ),
        (
            &with_block("assistant", r#"{"type":"tool_result","tool_use_id":"a"}"#),
            "messages.0.content.0: tool_result blocks belong into user messages",
        ),
        (
            &with_block("assistant", r#"{"type":"tool_use","name":"f"}"#),
            "messages.0.content.0.id: field required",
        ),
        (
            &with_block("assistant", r#"{"type":"tool_use","id":null,"name":"f"}"#),
            "messages.0.content.0.id: expected a string, got null",
        ),
        (
            &with_block("assistant", r#"{"type":"tool_use","id":"a","name":[]}"#),
            "messages.0.content.0.name: expected a string, got array",
        ),
        (
            &with_block("assistant", r#"{"type":"tool_use","id":"a","name":"f","input":[1]}"#),
            "messages.0.content.0.input: expected an object, got array",
        ),
        (
            &with_block("assistant", r#"{"type":"thinking","thinking":true}"#),
            "messages.0.content.0.thinking: expected a string, got boolean",
        ),
        (
            &with_block("assistant", r#"{"type":"thinking","thinking":"a","signature":3}"#),
            "messages.0.content.0.signature: expected a string, got number",
        ),
        (
            &with_block("user", r#"{"type":"tool_result","tool_use_id":null}"#),
            "messages.0.content.0.tool_use_id: expected a string, got null",
        ),
        (
            &with_block("user", r#"{"type":"tool_result","tool_use_id":"a","is_error":"no"}"#),
            "messages.0.content.0.is_error: expected a boolean, got string",
        ),
        (
            &with_block(
                "user",
                r#"{"content":[{"type":"text","text":[]}],"type":"tool_result","tool_use_id":"a"}"#,
            ),
            "messages.0.content.0.content.0.text: expected a string, got array",
        ),
        (
            &with_block("user", r#"{"type":"tool_result","tool_use_id":"a","content":[null]}"#),
            "messages.0.content.0.content.0: expected an object, got null",
        ),
        (&with_field(r#""model":7"#), "model: expected a string, got number"),
        (&with_field(r#""system":7"#), "system: expected a string or an array, got number"),
        (&with_field(r#""system":["a"]"#), "system.0: expected an object, got string"),
        (
            &with_field(r#""system":[{"type":"text","text":{}}]"#),
            "system.0.text: expected a string, got object",
        ),
        (&with_field(r#""max_tokens":"many""#), "max_tokens: expected an integer, got string"),
        (&with_field(r#""max_tokens":-1"#), "max_tokens: must not be negative"),
        (&with_field(r#""max_tokens":1.5"#), "max_tokens: expected an integer, got a fraction"),
        (&with_field(r#""max_tokens":123456789012345678901234567890"#), "max_tokens: number out of range"),
        (&with_field(r#""stream":"yes""#), "stream: expected a boolean, got string"),
        (&with_field(r#""temperature":"hot""#), "temperature: expected a number, got string"),
        (&with_field(r#""temperature":1.1"#), "temperature: range: 0..1"),
        (&with_field(r#""temperature":-0.1"#), "temperature: range: 0..1"),
        (&with_field(r#""top_p":2"#), "top_p: range: 0..1"),
        (&with_field(r#""top_k":-1"#), "top_k: must not be negative"),
        (
            &with_field(r#""stop_sequences":["a"," \n"]"#),
            "stop_sequences.1: each stop sequence must contain non-whitespace",
        ),
        (
            &with_field(r#""output_config":{"format":"json"}"#),
            "output_config.format: expected an object, got string",
        ),
        (&with_field(r#""top_k":[]"#), "top_k: expected an integer, got array"),
        (&with_field(r#""stop_sequences":"a""#), "stop_sequences: expected an array, got string"),
        (&with_field(r#""stop_sequences":["a",null]"#), "stop_sequences.1: expected a string, got null"),
        (&with_field(r#""thinking":"on""#), "thinking: expected an object, got string"),
        (
            &with_field(r#""thinking":{"type":"enabled","budget_tokens":"x"}"#),
            "thinking.budget_tokens: expected an integer, got string",
        ),
        (
            &with_field(r#""output_config":{"effort":3}"#),
            "output_config.effort: expected a string, got number",
        ),
        (&with_field(r#""metadata":[]"#), "metadata: expected an object, got array"),
        (&with_field(r#""metadata":{"user_id":{}}"#), "metadata.user_id: expected a string, got object"),
        (&with_field(r#""tools":{}"#), "tools: expected an array, got object"),
        (&with_field(r#""tools":[null]"#), "tools.0: expected an object, got null"),
        (&with_field(r#""tools":[{"name":1}]"#), "tools.0.name: expected a string, got number"),
        (
            &with_field(r#""tools":[{"name":"a","input_schema":[]}]"#),
            "tools.0.input_schema: expected an object, got array",
        ),
        (&with_field(r#""tools":[{"name":"a"},{"name":"a"}]"#), "tools.1.name: tool names must be unique"),
        (&with_field(r#""tool_choice":"auto""#), "tool_choice: expected an object, got string"),
        (&with_field(r#""tool_choice":{}"#), "tool_choice.type: field required"),
        (&with_field(r#""tool_choice":{"type":"tool"}"#), "tool_choice.name: field required"),
        (
            &with_field(r#""tools":[{"name":"a"}],"tool_choice":{"type":"tool","name":"b"}"#),
            "tool_choice.name: no tool of this name",
        ),
    ] {
        let message = refusal(body.as_bytes());
        assert!(message.starts_with(want), "{body}\n got: {message}\nwant: {want}");
    }
}

#[test]
fn null_is_absence_where_a_field_is_optional() {
    let request = parse(
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"q","cache_control":null}]}],
        "model":null,"system":null,"tools":null,"tool_choice":null,"max_tokens":null,"stream":null,"thinking":null,
        "output_config":null,"temperature":null,"top_p":null,"top_k":null,"stop_sequences":null,"metadata":null,"new":{"a":[1]}}"#,
    );
    assert!(request.model.is_none() && request.max_tokens.is_none() && request.temperature.is_none());
    assert!(request.tools.is_none() && !request.stream && request.system.is_empty());
    assert_eq!(request.effective_max_tokens(), 4096);
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    let request = parse(
        r#"{"model":"a","messages":[{"role":"user","content":[{"type":"odd"}]}],"model":"b",
        "messages":[{"role":"assistant","role":"user","content":"x","content":[{"type":"odd","text":"t","type":"text","text":"u"}]}]}"#,
    );
    assert_eq!(request.model.as_deref(), Some("b"));
    assert_eq!(request.dropped_blocks, 0);
    assert!(matches!(&request.messages[0].blocks()[0], Block::Text(text) if text.raw() == "u"));
}

#[test]
fn unknown_blocks_are_dropped_and_counted_at_every_level() {
    let request = parse(
        r#"{"system":[{"type":"odd"}],"messages":[{"role":"user","content":[{"type":"server_tool_use","text":4,"content":{}},
        {"tool_use_id":"a","content":[{"type":"odd"},{"type":"text","text":"x"}],"type":"tool_result"}]}]}"#,
    );
    assert_eq!(request.dropped_blocks, 3);
    let Content::Blocks(blocks) = &request.messages[0].content else { panic!() };
    assert!(matches!(&blocks[0], Block::ToolResult(result)
        if matches!(&result.content, ResultContent::Items(items) if items.len() == 1)));
}

#[test]
fn a_claude_code_request_is_read() {
    let request = parse(
        r#"{"model":"claude-opus-4-8","max_tokens":32000,"stream":true,"thinking":{"type":"adaptive"},
        "output_config":{"effort":"high"},"context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},
        "tool_choice":{"type":"auto","disable_parallel_tool_use":true},
        "metadata":{"user_id":"{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"0195-ab\"}"},
        "messages":[{"role":"user","content":"hi"}]}"#,
    );
    assert!(request.stream);
    assert_eq!(request.thinking.unwrap().mode, ThinkingMode::Adaptive);
    assert_eq!(request.output.effort, Some(Effort::High));
    assert_eq!(request.tool_choice, Some(ToolChoice::Auto));
    assert_eq!(request.conversation_key(None), "0195-ab");
    assert_eq!(request.conversation_key(Some("  head-1 ")), "head-1");
    assert!(request.conversation_key(Some("a b")).starts_with("h-"));
}

#[test]
fn the_attribution_block_is_not_part_of_the_conversation_key() {
    let key = |version: &str, system: &str, first: &str, second: &str| {
        let body = format!(
            r#"{{"system":[{{"type":"text","text":"x-anthropic-billing-header: cc_version={version};"}},{{"type":"text","text":"{system}"}}],
            "messages":[{{"role":"user","content":"{first}"}},{{"role":"assistant","content":"{second}"}}]}}"#
        );
        parse(&body).conversation_key(None)
    };
    assert_eq!(key("1", "s", "q", "a"), key("2", "s", "q", "b"));
    assert_ne!(key("1", "s", "q", "a"), key("1", "s2", "q", "a"));
    assert_ne!(key("1", "s", "q", "a"), key("1", "s", "q2", "a"));
    let old = with_field(r#""metadata":{"user_id":"user_ab_account__session_0195-cd"}"#);
    assert_eq!(parse(&old).conversation_key(None), "0195-cd");
}

#[test]
fn text_and_data_are_borrowed() {
    let body = with_block("user", r#"{"type":"text","text":"a\nb"}"#);
    let request = parse(&body);
    let Block::Text(text) = &request.messages[0].blocks()[0] else { panic!() };
    assert!(body.as_bytes().as_ptr_range().contains(&text.raw().as_ptr()));
}

/// Reading what stands under a `type` that is given twice must not double the work at every level.
#[test]
fn nested_blocks_with_repeated_keys_are_read_once() {
    let mut block = r#"{"type":"text","text":"x"}"#.to_owned();
    for _ in 0..40 {
        block =
            format!(r#"{{"type":"tool_result","tool_use_id":"a","content":[{block}],"type":"tool_result"}}"#);
    }
    parse(&with_block("user", &block));
    let mut block = r#"{"type":"text","text":"x"}"#.to_owned();
    for _ in 0..22 {
        block = format!(
            r#"{{"type":"document","source":{{"type":"content","content":[{block}]}},"type":"image","type":"document"}}"#
        );
    }
    parse(&with_block("user", &block));
}
