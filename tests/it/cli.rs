//! The built program: exit codes, and what it says where.

use std::process::{Command, Output, Stdio};

/// Runs the program with an environment of its own: an empty home, and `env`.
fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_antigravity-proxy"))
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .envs(env.iter().copied())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_and_version_are_no_errors() {
    let (code, out, err) = said(&run(&["--help"], &[]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("accounts") && out.contains("--strategy"), "{out}");
    let (code, out, _) = said(&run(&["--version"], &[]));
    assert_eq!((code, out.trim()), (Some(0), concat!("antigravity-proxy ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn wrong_usage_is_2_and_wrong_settings_are_78() {
    for (args, env, code, words) in [
        (&["--no-such-flag"][..], &[][..], 2, "--no-such-flag"),
        (&["--port", "high"], &[], 2, "--port"),
        (&["--strategy=fastest"], &[], 2, "allowed: hybrid, round-robin or sticky"),
        (&["serve"], &[("STRATEGY", "fastest")], 2, "environment variable STRATEGY"),
        (&["config", "check"], &[("PORT", "high")], 78, "port (environment variable PORT): \"high\""),
        (&["serve"], &[("OTEL_TRACES_SAMPLER", "often")], 78, "environment variable OTEL_TRACES_SAMPLER"),
        (&["serve"], &[("CONFIG_FILE", "missing.json")], 78, "CONFIG_FILE"),
        (&["accounts", "list"], &[("ENCRYPTION_KEYS", "c2VjcmV0")], 78, "encryptionKeys"),
    ] {
        let (found, out, err) = said(&run(args, env));
        assert_eq!((found, out.as_str()), (Some(code), ""), "{args:?} {env:?}: {err}");
        assert!(err.contains(words), "{args:?} {env:?}: {err}");
        assert!(!err.contains("c2VjcmV0"), "{err}");
    }
}

#[test]
fn the_settings_are_shown_with_their_source_and_without_secrets() {
    let env = [("API_KEY", "hidden-value"), ("HTTPS_PROXY", "http://u:hidden-value@p:1"), ("PORT", "81")];
    let (code, out, err) = said(&run(&["config", "check", "--host", "127.0.0.1"], &env));
    assert_eq!(code, Some(0), "{err}");
    let row = |key: &str| out.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap_or_default();
    assert!(row("port").ends_with("environment variable PORT"), "{out}");
    assert!(row("host").ends_with("flag --host"), "{out}");
    assert!(row("apiKey").contains(" set "), "{out}");
    assert!(!out.contains("hidden-value") && !err.contains("hidden-value"), "{out}{err}");
}

#[test]
fn an_account_file_that_is_none_is_said() {
    let (code, _, err) = said(&run(&["accounts", "import", "-"], &[]));
    assert_eq!(code, Some(1));
    assert!(err.contains("is not JSON"), "{err}");
    let (code, _, err) = said(&run(&["accounts", "import", "nowhere.json"], &[]));
    assert_eq!(code, Some(1));
    assert!(err.contains("nowhere.json"), "{err}");
}

#[test]
fn the_health_check_fails_where_nothing_listens() {
    // The port of a listener that is gone: taken from the system, so that no other test has it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, _, err) = said(&run(&["healthcheck", "--port", &port.to_string()], &[("HOST", "127.0.0.1")]));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains(&port.to_string()), "{err}");
}
