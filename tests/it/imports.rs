//! Who may import whom: arrows only downward, and some libraries stay behind one module.
//!
//! Reads the sources: `use` trees with nested braces, paths in code, and `super::` chains that climb to the
//! crate's root. Test code is not looked at.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Module → the modules of this crate it may name. `*` is all.
const RULES: &[(&str, &[&str])] = &[
    ("anthropic", &[]),
    ("google", &[]),
    ("sse", &[]),
    ("clock", &[]),
    ("format", &["anthropic", "google"]),
    ("config", &["clock"]),
    ("store", &["config", "clock"]),
    ("telemetry", &["config", "clock"]),
    ("cloudcode", &["google", "sse", "clock", "config", "telemetry"]),
    ("auth", &["store", "clock", "config", "cloudcode", "telemetry"]),
    ("account", &["store", "auth", "cloudcode", "clock", "config", "telemetry"]),
    ("usage", &["store", "clock"]),
    (
        "dispatch",
        &[
            "anthropic",
            "google",
            "format",
            "sse",
            "account",
            "auth",
            "cloudcode",
            "clock",
            "config",
            "telemetry",
        ],
    ),
    ("server", BELOW_HTTP),
    ("webui", BELOW_HTTP),
    ("simulator", &["clock", "sse"]),
    ("app", &["*"]),
    ("cli", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
    ("bin", &["simulator", "clock"]),
];

/// All that lies below the HTTP modules; those two may name each other (the router mounts the console).
const BELOW_HTTP: &[&str] = &[
    "anthropic",
    "google",
    "sse",
    "clock",
    "format",
    "config",
    "store",
    "telemetry",
    "cloudcode",
    "auth",
    "account",
    "usage",
    "dispatch",
    "server",
    "webui",
];

/// Foreign path → the modules that may name it.
const FENCES: &[(&str, &[&str])] = &[
    ("redis", &["store"]),
    ("deadpool", &["store"]),
    ("mlua", &["store"]),
    ("reqwest", &["cloudcode", "auth"]),
    ("axum", &["server", "webui", "app", "simulator"]),
    ("rusqlite", &["auth"]),
    ("clap", &["cli", "main", "bin"]),
    ("std::env", &["config", "cli"]),
];

#[test]
fn modules_import_only_what_lies_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > 20, "the sources were not found");
    let mut faults = BTreeSet::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        for fault in faults_of(relative, &fs::read_to_string(&file).unwrap()) {
            faults.insert(format!("src/{}: {fault}", relative.display()));
        }
    }
    assert!(faults.is_empty(), "imports against the rule:\n{}", Vec::from_iter(faults).join("\n"));
}

#[test]
fn the_reader_sees_every_form() {
    let faults = |path: &str, text: &str| faults_of(Path::new(path), text);
    for text in [
        "use crate::server::Router;",
        "use crate::{clock::Clock, server::{self, Router}};",
        "pub(crate) use crate::{\n    clock::{Clock},\n    server,\n};",
        "fn f() { crate::server::run() }",
        "fn f<T: crate::server::Go>() {}",
        "use super::super::server;",
        "fn f() { super::super::server::run() }",
    ] {
        let found = faults("sse/decoder.rs", text);
        assert!(found.contains(&"may not import crate::server".to_owned()), "{text}: {found:?}");
    }
    assert_eq!(faults("format/a.rs", "use axum::Router;"), ["may not use axum"]);
    assert_eq!(faults("server/a.rs", "fn f() { std::env::var(\"X\"); }"), ["may not use std::env"]);
    assert_eq!(faults("server/a.rs", "use std::{io, env::{self, Args}};"), ["may not use std::env"]);
    for text in [
        "// use crate::server::Router;",
        "/* crate::server */",
        "const S: &str = \"crate::server::x\";",
        "const S: &str = r#\"crate::server::x\"#;",
        "use crate::sse::server;",
        "use super::server;",
        "fn f<'a>() -> impl Send + use<'a> { loop {} }",
        "#[cfg(test)]\nmod tests {\n    use crate::server::Router;\n}",
    ] {
        assert_eq!(faults("sse/decoder.rs", text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(faults("app/a.rs", "use crate::store::{redis::Host, Store};"), Vec::<String>::new());
}

fn faults_of(file: &Path, text: &str) -> Vec<String> {
    let path: Vec<&str> = file.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs")).collect();
    let module = path[0];
    let Some((_, allowed)) = RULES.iter().find(|(name, _)| *name == module) else {
        return vec![format!("module {module} has no row in the table")];
    };
    let mut faults = BTreeSet::new();
    for segments in paths(&code(text)) {
        let supers = segments.iter().take_while(|segment| *segment == "super").count();
        let root = match segments[0].as_str() {
            "crate" | "antigravity_proxy" => 1,
            _ if supers > 0 && supers == path.len() => supers,
            _ => 0,
        };
        if root > 0 {
            // `crate::CONSTANT` and `crate::{…}` name no module.
            let Some(target) = segments.get(root) else { continue };
            let known = RULES.iter().any(|(name, _)| name == target);
            if known && target != module && !allowed.contains(&target.as_str()) && !allowed.contains(&"*") {
                faults.insert(format!("may not import crate::{target}"));
            }
            continue;
        }
        let joined = segments.join("::");
        for (fence, inside) in FENCES {
            // Constants of the build say nothing about the environment.
            let named = joined == *fence
                || (joined.starts_with(&format!("{fence}::")) && !joined.starts_with("std::env::consts"));
            // One bare word in code is a local name.
            let foreign = segments.len() > 1 || fence.contains("::");
            if named && foreign && !inside.contains(&module) {
                faults.insert(format!("may not use {fence}"));
            }
        }
    }
    faults.into_iter().collect()
}

/// All paths of `code`: `use` trees spread out, others as they stand.
fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let captures = tokens.get(at + 1).is_some_and(|token| token == "<");
        if tokens[at] == "use" && !captures {
            at = tree(&tokens, at + 1, &[], &mut found);
        } else if is_ident(&tokens[at]) {
            let mut path = vec![tokens[at].clone()];
            while tokens.get(at + 1).is_some_and(|token| token == "::")
                && tokens.get(at + 2).is_some_and(|token| is_ident(token))
            {
                path.push(tokens[at + 2].clone());
                at += 2;
            }
            if path.len() > 1 {
                found.push(path);
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one use tree from `at` on; returns where it ends.
fn tree(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = tree(tokens, at, &path, found);
                    if tokens.get(at).is_some_and(|token| token != "}") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => at += 2,
            "," | "}" | ";" => break,
            "self" if !path.is_empty() => at += 1,
            _ => {
                path.push(token.clone());
                at += 1;
            }
        }
    }
    if path.len() == 1 {
        // `use axum;`: made a path of two, as only those count.
        path.push("self".into());
    }
    if !path.is_empty() {
        found.push(path);
    }
    at
}

fn is_ident(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    tokens
}

/// `text` without comments, string contents and the test modules at its foot.
fn code(text: &str) -> String {
    let foot = ["#[cfg(test)]\nmod ", "#[cfg(all(test, unix))]\nmod "];
    let end = foot.iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    let mut rest = &text[..end];
    let mut code = String::with_capacity(rest.len());
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 2 + hashes;
            rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len())
        } else if first == '"' {
            string_end(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            0
        };
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
            continue;
        }
        // A whole word at once, so that the `r` of `for"` is not read as a raw string.
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let step = if word > 0 { word } else { first.len_utf8() };
        code.push_str(&rest[..step]);
        rest = &rest[step..];
    }
    code
}

/// The number of `#` when a raw string starts here.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    hashes[count..].starts_with('"').then_some(count)
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// All `.rs` files below `dir` that are not tests.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if name != "tests" {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
    found
}
