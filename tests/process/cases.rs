//! Requests that are wrong, and what is to be said about each.

use std::fmt::Write as _;

/// The content of the only message is wrong here; `@` stands for it.
const IN_CONTENT: &str =
    r#"{"model":"claude-sonnet-4-6","max_tokens":9,"messages":[{"role":"user","content":@}]}"#;
/// The only block of an assistant's message.
const IN_ANSWER: &str = r#"{"model":"claude-sonnet-4-6","max_tokens":9,"messages":[{"role":"user","content":"a"},
    {"role":"assistant","content":[@]}]}"#;
/// The messages.
const IN_MESSAGES: &str = r#"{"model":"claude-sonnet-4-6","max_tokens":9,"messages":@}"#;
/// Beside good messages.
const BESIDE: &str = r#"{"model":"claude-sonnet-4-6","messages":[{"role":"user","content":"a"}],@}"#;

/// Around what, the wrong part, and where it is wrong.
const WRONG_TYPES: &[(&str, &str, &str)] = &[
    ("@", "[]", "request body: expected an object, got array"),
    ("@", "\"x\"", "request body: expected an object, got string"),
    ("@", "7", "request body: expected an object, got number"),
    ("@", "null", "request body: expected an object, got null"),
    ("@", "true", "request body: expected an object, got boolean"),
    ("@", "{}", "messages: field required"),
    (IN_MESSAGES, "\"hi\"", "messages: expected an array, got string"),
    (IN_MESSAGES, "{}", "messages: expected an array, got object"),
    (IN_MESSAGES, "null", "messages: expected an array, got null"),
    (IN_MESSAGES, "[]", "messages: at least one"),
    (IN_MESSAGES, "[7]", "messages.0: expected an object, got number"),
    (IN_MESSAGES, "[null]", "messages.0: expected an object, got null"),
    (IN_MESSAGES, "[[]]", "messages.0: expected an object, got array"),
    (IN_MESSAGES, r#"[{"content":"a"}]"#, "messages.0.role: field required"),
    (IN_MESSAGES, r#"[{"role":7,"content":"a"}]"#, "messages.0.role: expected a string, got number"),
    (IN_MESSAGES, r#"[{"role":null,"content":"a"}]"#, "messages.0.role: expected a string, got null"),
    (IN_MESSAGES, r#"[{"role":"robot","content":"a"}]"#, "messages.0.role: "),
    (IN_MESSAGES, r#"[{"role":"user"}]"#, "messages.0.content: field required"),
    (
        IN_MESSAGES,
        r#"[{"role":"user","content":"a"},{"role":"assistant","content":7}]"#,
        "messages.1.content: ",
    ),
    (IN_CONTENT, "null", "messages.0.content: expected a string or an array, got null"),
    (IN_CONTENT, "{}", "messages.0.content: expected a string or an array, got object"),
    (IN_CONTENT, "false", "messages.0.content: expected a string or an array, got boolean"),
    (IN_CONTENT, "[7]", "messages.0.content.0: expected an object, got number"),
    (IN_CONTENT, "[null]", "messages.0.content.0: expected an object, got null"),
    (IN_CONTENT, "[{}]", "messages.0.content.0.type: field required"),
    (IN_CONTENT, r#"[{"type":null}]"#, "messages.0.content.0.type: expected a string, got null"),
    (IN_CONTENT, r#"[{"type":[]}]"#, "messages.0.content.0.type: expected a string, got array"),
    (IN_CONTENT, r#"[{"type":"text"}]"#, "messages.0.content.0.text: field required"),
    (
        IN_CONTENT,
        r#"[{"type":"text","text":null}]"#,
        "messages.0.content.0.text: expected a string, got null",
    ),
    (
        IN_CONTENT,
        r#"[{"text":{},"type":"text"}]"#,
        "messages.0.content.0.text: expected a string, got object",
    ),
    (
        IN_CONTENT,
        r#"[{"type":"text","text":"a"},{"type":"text","text":"b"},{"type":"text","text":3}]"#,
        "messages.0.content.2.text: expected a string, got number",
    ),
    (IN_CONTENT, r#"[{"type":"image"}]"#, "messages.0.content.0.source: field required"),
    (IN_CONTENT, r#"[{"type":"image","source":7}]"#, "messages.0.content.0.source: expected an object"),
    (IN_CONTENT, r#"[{"type":"image","source":{}}]"#, "messages.0.content.0.source.type: field required"),
    (
        IN_CONTENT,
        r#"[{"type":"image","source":{"type":"base64","data":"AA=="}}]"#,
        "messages.0.content.0.source.media_type: field required",
    ),
    (
        IN_CONTENT,
        r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":7}}]"#,
        "messages.0.content.0.source.data: expected a string, got number",
    ),
    (
        IN_CONTENT,
        r#"[{"type":"document","source":{"type":"url","url":null}}]"#,
        "messages.0.content.0.source.url: expected a string, got null",
    ),
    (
        IN_CONTENT,
        r#"[{"type":"tool_use","id":"a","name":"b","input":{}}]"#,
        "messages.0.content.0: tool_use blocks belong",
    ),
    (
        IN_CONTENT,
        r#"[{"type":"tool_result","tool_use_id":7}]"#,
        "messages.0.content.0.tool_use_id: expected a string, got number",
    ),
    (
        IN_CONTENT,
        r#"[{"type":"tool_result","tool_use_id":"a","is_error":"yes"}]"#,
        "messages.0.content.0.is_error: expected a boolean, got string",
    ),
    (
        IN_CONTENT,
        r#"[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":7}]}]"#,
        "messages.0.content.0.content.0.text: expected a string, got number",
    ),
    (IN_ANSWER, r#"{"type":"tool_use","name":"b","input":{}}"#, "messages.1.content.0.id: field required"),
    (
        IN_ANSWER,
        r#"{"type":"tool_use","id":null,"name":"b","input":{}}"#,
        "messages.1.content.0.id: expected a string, got null",
    ),
    (
        IN_ANSWER,
        r#"{"type":"tool_use","id":"a","name":7,"input":{}}"#,
        "messages.1.content.0.name: expected a string, got number",
    ),
    (
        IN_ANSWER,
        r#"{"type":"tool_use","id":"a","name":"b","input":[]}"#,
        "messages.1.content.0.input: expected an object, got array",
    ),
    (
        IN_ANSWER,
        r#"{"type":"tool_result","tool_use_id":"a"}"#,
        "messages.1.content.0: tool_result blocks belong",
    ),
    (
        IN_ANSWER,
        r#"{"type":"thinking","thinking":7}"#,
        "messages.1.content.0.thinking: expected a string, got number",
    ),
    (BESIDE, r#""model":7"#, "model: expected a string, got number"),
    (BESIDE, r#""model":{"id":"x"}"#, "model: expected a string, got object"),
    (BESIDE, r#""model":null"#, "model"),
    (BESIDE, r#""system":7"#, "system: expected a string or an array, got number"),
    (BESIDE, r#""system":[7]"#, "system.0: expected an object, got number"),
    (BESIDE, r#""system":[{"type":"text","text":7}]"#, "system.0.text: expected a string, got number"),
    (BESIDE, r#""tools":{}"#, "tools: expected an array, got object"),
    (BESIDE, r#""tools":[7]"#, "tools.0: expected an object, got number"),
    (BESIDE, r#""tools":[{"name":7}]"#, "tools.0.name: expected a string, got number"),
    (
        BESIDE,
        r#""tools":[{"name":"a","description":7}]"#,
        "tools.0.description: expected a string, got number",
    ),
    (BESIDE, r#""tools":[{"name":"a","input_schema":"x"}]"#, "tools.0.input_schema: expected an object"),
    (BESIDE, r#""tool_choice":"auto""#, "tool_choice: expected an object, got string"),
    (BESIDE, r#""tool_choice":{"type":7}"#, "tool_choice.type: expected a string, got number"),
    (
        BESIDE,
        r#""tools":[{"name":"a","input_schema":{}}],"tool_choice":{"type":"tool","name":"b"}"#,
        "tool_choice.name: no tool",
    ),
    (BESIDE, r#""max_tokens":"100""#, "max_tokens: expected an integer, got string"),
    (BESIDE, r#""max_tokens":-1"#, "max_tokens: must not be negative"),
    (BESIDE, r#""max_tokens":1.5"#, "max_tokens: expected an integer, got a fraction"),
    (BESIDE, r#""max_tokens":1e99"#, "max_tokens: number out of range"),
    (BESIDE, r#""max_tokens":99999999999999999999999999"#, "max_tokens: number out of range"),
    (BESIDE, r#""top_k":-99999999999"#, "top_k: number out of range"),
    (BESIDE, r#""top_k":[]"#, "top_k: expected an integer, got array"),
    (BESIDE, r#""temperature":"hot""#, "temperature: expected a number, got string"),
    (BESIDE, r#""temperature":1e999"#, "number out of range"),
    (BESIDE, r#""top_p":{}"#, "top_p: expected a number, got object"),
    (BESIDE, r#""stream":"yes""#, "stream: expected a boolean, got string"),
    (BESIDE, r#""stream":1"#, "stream: expected a boolean, got number"),
    (BESIDE, r#""stop_sequences":"x""#, "stop_sequences: expected an array, got string"),
    (BESIDE, r#""stop_sequences":["x",null]"#, "stop_sequences.1: expected a string, got null"),
    (BESIDE, r#""metadata":7"#, "metadata: expected an object, got number"),
    (BESIDE, r#""metadata":{"user_id":7}"#, "metadata.user_id: expected a string, got number"),
    (BESIDE, r#""thinking":"on""#, "thinking: expected an object, got string"),
    (BESIDE, r#""thinking":{"type":7}"#, "thinking.type: expected a string, got number"),
    (
        BESIDE,
        r#""thinking":{"type":"enabled","budget_tokens":"many"}"#,
        "thinking.budget_tokens: expected an integer, got string",
    ),
    (BESIDE, r#""output_config":"high""#, "output_config: expected an object, got string"),
    (BESIDE, r#""output_config":{"effort":7}"#, "output_config.effort: expected a string, got number"),
];

/// A text and the offset of its first wrong byte.
const NOT_JSON: &[(&[u8], usize)] = &[
    (b"", 0),
    (b"  ", 2),
    (b"{", 1),
    (b"hello", 0),
    (b"\xef\xbb\xbf{}", 0),
    (b"\xff\xfe{\x00}\x00", 0),
    (br#"{"messages":["#, 13),
    (br#"{"messages":[{"role":"us"#, 24),
    (br#"{"messages" []}"#, 12),
    (br#"{"novel":[],}"#, 12),
    (br"{'messages':[]}", 1),
    (br#"{"stream":tru}"#, 10),
    (br#"{"max_tokens":NaN}"#, 14),
    (br#"{"max_tokens":01}"#, 15),
    (br#"{"max_tokens":-}"#, 15),
    (br#"{"model":"a\x41"}"#, 11),
    (b"{\"model\":\"a\nb\"}", 11),
    (b"{\"model\":\"a\x00b\"}", 11),
    (b"{\"model\":\"\xc3\x28\"}", 10),
    (b"{\"model\":\"\xed\xa0\x80\"}", 10),
    (br#"{"messages":[{"role":"user","content":"a"}]} {}"#, 45),
    (br#"{"messages":[{"role":"user","content":"a"}]}]"#, 44),
];

/// A body that must be refused with 400.
pub(crate) struct BadBody {
    pub(crate) body: Vec<u8>,
    /// What the message must contain.
    pub(crate) words: String,
    /// A short form of the body for messages.
    pub(crate) name: String,
}

impl BadBody {
    fn new(body: Vec<u8>, words: String) -> Self {
        let mut name = String::new();
        let shown = String::from_utf8_lossy(&body[..body.len().min(160)]).into_owned();
        write!(name, "{shown:?} ({} bytes)", body.len()).unwrap();
        Self { body, words, name }
    }
}

/// All of them, those that take much space included.
pub(crate) fn bad_bodies() -> Vec<BadBody> {
    let mut all = Vec::new();
    for (around, part, words) in WRONG_TYPES {
        all.push(BadBody::new(around.replacen('@', part, 1).into_bytes(), (*words).to_owned()));
    }
    for (body, at) in NOT_JSON {
        all.push(BadBody::new(body.to_vec(), format!("invalid JSON at byte {at}: ")));
    }
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    for nested in [deep("[", "]"), deep("[", ""), deep("{\"a\":", "}"), deep("[{\"b\":", "")] {
        for around in
            ["@", IN_MESSAGES, IN_CONTENT, r#"{"unknown":@}"#, r#"{"tools":[{"name":"a","input_schema":@}]}"#]
        {
            let body = around.replacen('@', &nested, 1).into_bytes();
            all.push(BadBody::new(body, String::new()));
        }
    }
    all
}
