//! A gateway as a child process, and commands on its data directory.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::http::{self, Answer};
use crate::simulator::Simulator;

/// Longest time for anything that should happen soon, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(40);

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_antigravity-proxy");

/// A home of its own: data directory, configuration file, environment.
pub(crate) struct Home {
    dir: TempDir,
    env: Vec<(String, String)>,
    program: PathBuf,
}

impl Home {
    /// An empty home; free ports on the loopback interface.
    pub(crate) fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap(), env: Vec::new(), program: PROGRAM.into() };
        let data = home.data().display().to_string();
        let defaults = [("HOST", "127.0.0.1"), ("PORT", "0"), ("METRICS_ADDR", "127.0.0.1:0")];
        defaults.iter().fold(home.env("DATA_DIR", &data), |home, (name, value)| home.env(name, value))
    }

    /// An empty home whose upstream is `simulator`.
    pub(crate) fn with(simulator: &Simulator) -> Self {
        Self::new()
            .env("CLOUDCODE_ENDPOINTS", &simulator.endpoints.join(","))
            .env("OAUTH_AUTH_URL", &format!("{}/auth", simulator.url))
            .env("OAUTH_CALLBACK_PORT", "0")
            .env("OAUTH_TOKEN_URL", &format!("{}/token", simulator.url))
            .env("OAUTH_USERINFO_URL", &format!("{}/userinfo", simulator.url))
            .env("OAUTH_CLIENT_ID", "client")
            .env("OAUTH_CLIENT_SECRET", "client-secret")
    }

    /// Sets an environment variable; an empty value counts as not set.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another build of the gateway.
    pub(crate) fn program(self, program: &Path) -> Self {
        Self { program: program.to_owned(), ..self }
    }

    /// Writes the configuration file.
    pub(crate) fn file(self, settings: &Value) -> Self {
        let path = self.dir.path().join("config.json");
        std::fs::write(&path, settings.to_string()).unwrap();
        let path = path.display().to_string();
        self.env("CONFIG_FILE", &path)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_of(&self.program, args)
    }

    fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("HOME", self.dir.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, args: &[&str], stdin: &[u8]) -> Ended {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // A program that refuses its arguments does not read its input.
        input.write_all(stdin).await.ok();
        drop(input);
        let output = tokio::time::timeout(SOON, child.wait_with_output()).await;
        Ended::from(output.unwrap_or_else(|_| panic!("{args:?} does not end")).unwrap())
    }

    /// Runs a command at a terminal of its own, into which `typed` is typed; its two outputs are one. Needs util-linux.
    pub(crate) async fn at_terminal(&self, args: &[&str], typed: &str) -> Ended {
        let words = [&[self.program.to_str().unwrap()], args].concat();
        let line: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let mut command =
            self.command_of(Path::new("/usr/bin/script"), &["-qec", &line.join(" "), "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(typed.as_bytes()).await.unwrap();
        let output = tokio::time::timeout(SOON, child.wait_with_output()).await;
        drop(input);
        Ended::from(output.unwrap_or_else(|_| panic!("{args:?} does not end")).unwrap())
    }

    /// Runs a command that must succeed, and returns its standard output.
    pub(crate) async fn succeed(&self, args: &[&str], stdin: &[u8]) -> String {
        let ended = self.run(args, stdin).await;
        assert_eq!(ended.code, Some(0), "{args:?}: {}{}", ended.out, ended.err);
        ended.out
    }

    /// Starts a gateway and waits until it is ready.
    pub(crate) async fn start(&self) -> Gateway {
        let mut child = self
            .command(&["serve"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::default();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut err = child.stderr.take().unwrap();
        let kept = log.clone();
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            let mut piece = vec![0; 8192];
            while let Ok(read @ 1..) = err.read(&mut piece).await {
                kept.push(&piece[..read]);
            }
        });
        let mut line = String::new();
        let read = tokio::time::timeout(SOON, out.read_line(&mut line)).await;
        if !matches!(read, Ok(Ok(1..))) {
            child.start_kill().ok();
            child.wait().await.ok();
            reading.join_next().await;
            panic!("the gateway does not start: {}", log.text());
        }
        let ready: Value = serde_json::from_str(&line).unwrap();
        log.push(line.as_bytes());
        let kept = log.clone();
        reading.spawn(async move {
            let mut rest = Vec::new();
            out.read_to_end(&mut rest).await.ok();
            kept.push(&rest);
        });
        let text = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("{key} in {line}")).to_owned();
        Gateway { url: text("url"), metrics_url: text("metricsUrl"), child, log, reading }
    }
}

/// What a command said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) bytes: Vec<u8>,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }
}

/// Standard output and standard error, as they come.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn push(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A gateway that serves; it is killed when dropped.
pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) metrics_url: String,
    pub(crate) log: Log,
    child: Child,
    reading: JoinSet<()>,
}

impl Gateway {
    /// A Messages request with one text of the user.
    pub(crate) async fn ask(&self, text: &str) -> Answer {
        http::post(&format!("{}/v1/messages", self.url), &http::message(text, false)).await
    }

    /// `kill -9`, and the end of the process.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; does not wait.
    pub(crate) async fn terminate(&self) {
        terminate(self.child.id().expect("it runs")).await;
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end of the process and of its words.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let status = tokio::time::timeout(within, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end: {}", self.log.text())).unwrap();
        while self.reading.join_next().await.is_some() {}
        status
    }
}

/// SIGTERM for a process; does not wait.
pub(crate) async fn terminate(pid: u32) {
    let sent =
        Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid.to_string()]).status().await.unwrap();
    assert!(sent.success());
}

/// Waits until `holds` says so; `what` is for the message.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let polling = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, polling).await.is_ok(), "not within {SOON:?}: {what}");
}
