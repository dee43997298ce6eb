//! Tools that a client declares by their type alone, since the original API knows their schemas.
//!
//! Some are carried out by the client (`bash_…`, `text_editor_…`, `computer_…`, `memory_…`): the model gets a
//! declaration that says what the client expects. All others the original API runs itself; nobody can run them here.

/// What the model is told about a tool that the client carries out.
pub(super) struct TypedTool {
    pub(super) description: &'static str,
    /// Its parameters in the upstream's form.
    pub(super) parameters: &'static str,
}

/// The tool of a type such as `bash_20250124`; `None` for those that the client does not carry out.
pub(super) fn find(kind: &str) -> Option<&'static TypedTool> {
    let (family, version) = kind.rsplit_once('_')?;
    let dated = version.len() == 8 && version.bytes().all(|byte| byte.is_ascii_digit());
    match family {
        _ if !dated => None,
        "bash" => Some(&BASH),
        "text_editor" => Some(&TEXT_EDITOR),
        "computer" => Some(&COMPUTER),
        "memory" => Some(&MEMORY),
        _ => None,
    }
}

static BASH: TypedTool = TypedTool {
    description: "Runs a command in a bash session that lives on between calls, and returns what it prints.",
    parameters: concat!(
        r#"{"type":"OBJECT","properties":{"#,
        r#""command":{"type":"STRING","description":"The command to run"},"#,
        r#""restart":{"type":"BOOLEAN","description":"True, without a command: start the session anew"}}}"#
    ),
};

static TEXT_EDITOR: TypedTool = TypedTool {
    description: "Shows and edits text files. str_replace needs old_str to occur exactly once.",
    parameters: concat!(
        r#"{"type":"OBJECT","properties":{"#,
        r#""command":{"type":"STRING","enum":["view","create","str_replace","insert"]},"#,
        r#""path":{"type":"STRING","description":"Absolute path of the file or directory"},"#,
        r#""view_range":{"type":"ARRAY","description":"view: first and last line, from 1; -1 is the end","items":{"type":"INTEGER"}},"#,
        r#""file_text":{"type":"STRING","description":"create: the whole content"},"#,
        r#""old_str":{"type":"STRING","description":"str_replace: the text to replace"},"#,
        r#""new_str":{"type":"STRING","description":"str_replace, insert: the new text"},"#,
        r#""insert_line":{"type":"INTEGER","description":"insert: the line to insert behind; 0 is the start"},"#,
        r#""insert_text":{"type":"STRING","description":"insert: the new text, in newer versions of this tool"}"#,
        r#"},"required":["command","path"]}"#
    ),
};

static MEMORY: TypedTool = TypedTool {
    description: "Keeps notes in files below /memories, which outlive this conversation. Look there first.",
    parameters: concat!(
        r#"{"type":"OBJECT","properties":{"#,
        r#""command":{"type":"STRING","enum":["view","create","str_replace","insert","delete","rename"]},"#,
        r#""path":{"type":"STRING","description":"Path below /memories; not for rename"},"#,
        r#""view_range":{"type":"ARRAY","description":"view: first and last line","items":{"type":"INTEGER"}},"#,
        r#""file_text":{"type":"STRING","description":"create: the whole content"},"#,
        r#""old_str":{"type":"STRING","description":"str_replace: the text to replace"},"#,
        r#""new_str":{"type":"STRING","description":"str_replace: the new text"},"#,
        r#""insert_line":{"type":"INTEGER","description":"insert: the line to insert behind"},"#,
        r#""insert_text":{"type":"STRING","description":"insert: the new text"},"#,
        r#""old_path":{"type":"STRING","description":"rename: the path now"},"#,
        r#""new_path":{"type":"STRING","description":"rename: the path to be"}"#,
        r#"},"required":["command"]}"#
    ),
};

static COMPUTER: TypedTool = TypedTool {
    description: "Looks at the screen and uses mouse and keyboard. Take a screenshot first and after each step.",
    parameters: concat!(
        r#"{"type":"OBJECT","properties":{"#,
        r#""action":{"type":"STRING","enum":["screenshot","cursor_position","mouse_move","left_click","right_click","#,
        r#""middle_click","double_click","triple_click","left_click_drag","left_mouse_down","left_mouse_up","#,
        r#""scroll","key","hold_key","type","wait","zoom"]},"#,
        r#""coordinate":{"type":"ARRAY","description":"x and y in pixels from the upper left","items":{"type":"INTEGER"}},"#,
        r#""start_coordinate":{"type":"ARRAY","description":"left_click_drag: where it begins","items":{"type":"INTEGER"}},"#,
        r#""text":{"type":"STRING","description":"type: the text; key, hold_key: the keys, such as ctrl+s"},"#,
        r#""scroll_direction":{"type":"STRING","enum":["up","down","left","right"]},"#,
        r#""scroll_amount":{"type":"INTEGER"},"#,
        r#""duration":{"type":"NUMBER","description":"hold_key, wait: seconds"},"#,
        r#""region":{"type":"ARRAY","description":"zoom: x and y of two corners","items":{"type":"INTEGER"}}"#,
        r#"},"required":["action"]}"#
    ),
};
