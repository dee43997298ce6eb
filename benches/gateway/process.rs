//! The processes under test, and what the kernel says about them.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::redis_server::RedisServer;
use crate::{load, relay};

/// What the gateway under test accepts.
pub(crate) const API_KEY: &str = "bench";
/// Seals secrets that are none.
const ENCRYPTION_KEY: &str = "YmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggYmVuY2gtMzI=";
/// `USER_HZ`, which Linux fixes at 100 for everything it shows in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a peer may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: &str = env!("CARGO_BIN_EXE_antigravity-proxy");

/// A child that is killed when its handle is dropped.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) address: SocketAddr,
    pub(crate) url: String,
    /// From its start to its first line.
    pub(crate) ready_after: Duration,
}

impl Child {
    /// Starts `command` and waits for the JSON line that names its address.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let begun = load::now();
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(process.stdout.take().context("no standard output")?).lines();
        for line in lines {
            let line = line?;
            if !line.starts_with('{') {
                continue;
            }
            let ready: Value = serde_json::from_str(&line)?;
            let url = ready["url"].as_str().or(ready["baseUrl"].as_str()).context("no address")?.to_owned();
            let address = url.trim_start_matches("http://").parse()?;
            return Ok(Self { process, address, url, ready_after: begun.elapsed() });
        }
        bail!("{command:?} ended before it was ready")
    }

    /// Starts `command`, which says nothing, and waits until it takes connections at `address`.
    pub(crate) fn start_at(mut command: Command, address: SocketAddr) -> Result<Self> {
        let begun = load::now();
        // What goes wrong is shown.
        let process = command.stdout(Stdio::null()).spawn()?;
        let url = format!("http://{address}");
        let mut child = Self { process, address, url, ready_after: Duration::ZERO };
        while TcpStream::connect(address).is_err() {
            let ended = child.process.try_wait()?.is_some();
            if ended || begun.elapsed() > PATIENCE {
                bail!("{command:?} does not serve");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.ready_after = begun.elapsed();
        Ok(child)
    }

    /// User and system time of all threads, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("malformed stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS_PER_SECOND)
    }

    /// The same of the threads that are alive, to the nanosecond: for short times of a process whose threads stay.
    pub(crate) fn thread_seconds(&self) -> Result<f64> {
        let mut nanos = 0.0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let first = stat.split_whitespace().next().context("malformed schedstat")?;
            nanos += first.parse::<f64>()?;
        }
        Ok(nanos / 1e9)
    }

    /// Resident set size in kB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The largest resident set size since the start, in kB.
    pub(crate) fn peak_kib(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        Ok(line.split_whitespace().next().context("malformed field")?.parse()?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The simulator, a Redis, and what gateways in front of it need.
pub(crate) struct Upstream {
    pub(crate) simulator: Child,
    redis: RedisServer,
    /// As the reference keeps them, but for the form of their tokens.
    pub(crate) accounts: PathBuf,
    /// For what processes write; gone at the end.
    pub(crate) data: tempfile::TempDir,
    gateways: Cell<u32>,
}

impl Upstream {
    pub(crate) fn start() -> Result<Self> {
        let data = tempfile::tempdir()?;
        let accounts = data.path().join("accounts.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudcode-sim"));
        command
            .args(["--port", "0", "--scenario", "bench", "--accounts", "50", "--write-accounts"])
            .arg(&accounts);
        let simulator = Child::start(command)?;
        Ok(Self { simulator, redis: RedisServer::start(), accounts, data, gateways: Cell::new(0) })
    }

    /// A gateway with a pool of its own, and with these variables besides the usual ones.
    pub(crate) fn gateway(&self, change: &[(&str, String)]) -> Result<Child> {
        self.gateways.set(self.gateways.get() + 1);
        let home = self.data.path().join(format!("gateway-{}", self.gateways.get()));
        std::fs::create_dir(&home)?;
        let url = &self.simulator.url;
        let command = || {
            let mut command = Command::new(GATEWAY);
            command
                .env_clear()
                .envs([
                    ("HOST", "127.0.0.1"),
                    ("PORT", "0"),
                    ("METRICS_ADDR", ""),
                    ("STRATEGY", "round-robin"),
                    ("LOG_LEVEL", "warn"),
                    ("API_KEY", API_KEY),
                    ("OAUTH_CLIENT_ID", "bench"),
                    ("OAUTH_CLIENT_SECRET", "bench"),
                    ("CLOUDCODE_ENDPOINTS", url),
                ])
                .env("OAUTH_TOKEN_URL", format!("{url}/token"))
                .env("REDIS_URL", self.redis.url())
                .env("POOL", format!("bench-{}", self.gateways.get()))
                .env("ENCRYPTION_KEYS", ENCRYPTION_KEY)
                .env("HOME", &home)
                .envs(change.iter().map(|(name, value)| (name, value)));
            command
        };
        let imported = command().args(["accounts", "import"]).arg(&self.accounts).output()?;
        if !imported.status.success() {
            bail!("import failed: {}", String::from_utf8_lossy(&imported.stderr));
        }
        Child::start(command())
    }
}

/// Simulator, relay and gateway, running.
pub(crate) struct Setup {
    pub(crate) relay: Child,
    pub(crate) gateway: Child,
    pub(crate) project: String,
    pub(crate) access_token: String,
    /// The gateway's resident kB before its first request.
    pub(crate) idle_kib: u64,
    pub(crate) gateway_binary: &'static str,
    pub(crate) upstream: Upstream,
}

impl Setup {
    pub(crate) async fn start() -> Result<Self> {
        let upstream = Upstream::start()?;
        let simulator = &upstream.simulator;

        let mut command = Command::new(std::env::current_exe()?);
        let (name, value) = relay::environment(&simulator.url);
        command.env(name, value);
        let relay = Child::start(command)?;

        let gateway = upstream.gateway(&[])?;
        let idle_kib = gateway.resident_kib()?;

        let account: Value = serde_json::from_slice(&std::fs::read(&upstream.accounts)?)?;
        let composite = account["accounts"][0]["refreshToken"].as_str().context("no refresh token")?;
        let mut segments = composite.split('|');
        let refresh_token = segments.next().unwrap_or_default();
        let project = segments.find(|segment| !segment.is_empty()).unwrap_or("sim-project-1").to_owned();
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", "bench"),
            ("client_secret", "bench"),
        ];
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client.post(format!("{}/token", simulator.url)).form(&form).send().await?;
        let token: Value = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
        let access_token = token["access_token"].as_str().context("no access token")?.to_owned();
        let gateway_binary = GATEWAY;
        Ok(Self { relay, gateway, project, access_token, idle_kib, gateway_binary, upstream })
    }
}
