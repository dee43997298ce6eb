//! The processes under test.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use serde_json::Value;

use crate::kernel::Process;
use crate::load::{self, Load, Target};
use crate::redis_server::RedisServer;
use crate::report::Case;
use crate::{body, relay};

/// Where the upstream streams an answer.
pub(crate) const STREAM: &str = "/v1internal:streamGenerateContent?alt=sse";
/// What the gateway under test accepts.
const API_KEY: &str = "bench";
/// Seals secrets that are none.
const ENCRYPTION_KEY: &str = "YmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggYmVuY2gtMzI=";
/// How long a peer may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: &str = env!("CARGO_BIN_EXE_antigravity-proxy");

/// A child that is killed when its handle is dropped.
pub(crate) struct Child {
    process: std::process::Child,
    seen: Process,
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
            let seen = Process::new(process.id());
            return Ok(Self { process, seen, address, url, ready_after: begun.elapsed() });
        }
        bail!("{command:?} ended before it was ready")
    }

    /// Starts `command`, which says nothing, and waits until it takes connections at `address`.
    pub(crate) fn start_at(mut command: Command, address: SocketAddr) -> Result<Self> {
        let begun = load::now();
        // What goes wrong is shown.
        let process = command.stdout(Stdio::null()).spawn()?;
        let (seen, url) = (Process::new(process.id()), format!("http://{address}"));
        let mut child = Self { process, seen, address, url, ready_after: Duration::ZERO };
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
}

impl Deref for Child {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.seen
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
    pools: Cell<u32>,
}

impl Upstream {
    pub(crate) fn start() -> Result<Self> {
        Self::with_accounts(50)
    }

    pub(crate) fn with_accounts(count: usize) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let accounts = data.path().join("accounts.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudcode-sim"));
        command
            .args([
                "--port",
                "0",
                "--scenario",
                "bench",
                "--accounts",
                &count.to_string(),
                "--write-accounts",
            ])
            .arg(&accounts);
        let simulator = Child::start(command)?;
        Ok(Self { simulator, redis: RedisServer::start(), accounts, data, pools: Cell::new(0) })
    }

    /// The Redis of all its gateways.
    pub(crate) fn redis(&self) -> Process {
        Process::new(self.redis.id())
    }

    /// A gateway with a pool of its own, and with these variables besides the usual ones.
    pub(crate) fn gateway(&self, change: &[(&str, String)]) -> Result<Child> {
        self.replicas(1, change)?.pop().context("no gateway")
    }

    /// So many gateways that share a pool of their own.
    pub(crate) fn replicas(&self, count: usize, change: &[(&str, String)]) -> Result<Vec<Child>> {
        self.run(Path::new(GATEWAY), count, change)
    }

    /// As [`Self::replicas`], of another program that does the same.
    pub(crate) fn run(&self, program: &Path, count: usize, change: &[(&str, String)]) -> Result<Vec<Child>> {
        self.pools.set(self.pools.get() + 1);
        let pool = format!("bench-{}", self.pools.get());
        let url = &self.simulator.url;
        let command = |program: &Path, home: &Path| {
            let mut command = Command::new(program);
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
                .env("POOL", &pool)
                .env("ENCRYPTION_KEYS", ENCRYPTION_KEY)
                .env("HOME", home)
                .envs(change.iter().map(|(name, value)| (name, value)));
            command
        };
        let home = |replica: usize| {
            let home = self.data.path().join(format!("{pool}-{replica}"));
            std::fs::create_dir(&home).map(|()| home)
        };
        let homes = (0..count).map(home).collect::<std::io::Result<Vec<_>>>()?;
        let first = homes.first().context("no replica")?;
        let imported =
            command(Path::new(GATEWAY), first).args(["accounts", "import"]).arg(&self.accounts).output()?;
        if !imported.status.success() {
            bail!("import failed: {}", String::from_utf8_lossy(&imported.stderr));
        }
        homes.iter().map(|home| Child::start(command(program, home))).collect()
    }

    /// An account's project, and an access token as the simulator grants it.
    async fn credentials(&self) -> Result<(String, String)> {
        let account: Value = serde_json::from_slice(&std::fs::read(&self.accounts)?)?;
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
        let answer = client.post(format!("{}/token", self.simulator.url)).form(&form).send().await?;
        let token: Value = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
        let access_token = token["access_token"].as_str().context("no access token")?.to_owned();
        Ok((project, access_token))
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
        Self::with_gateway(|upstream| upstream.gateway(&[])).await
    }

    /// As [`Self::start`], with the gateway that `start` starts.
    pub(crate) async fn with_gateway(start: impl FnOnce(&Upstream) -> Result<Child>) -> Result<Self> {
        let upstream = Upstream::start()?;
        let mut command = Command::new(std::env::current_exe()?);
        let (name, value) = relay::environment(&upstream.simulator.url);
        command.env(name, value);
        let relay = Child::start(command)?;
        let gateway = start(&upstream)?;
        let idle_kib = gateway.resident_kib()?;
        let (project, access_token) = upstream.credentials().await?;
        let gateway_binary = GATEWAY;
        Ok(Self { relay, gateway, project, access_token, idle_kib, gateway_binary, upstream })
    }

    /// The request of `case` to the relay.
    pub(crate) fn relay_load(&self, case: &Case) -> Result<Load> {
        Ok(self.relay_sends(body::upstream(case, &self.project)?))
    }

    /// A request of this body, as the upstream takes it, to the relay.
    pub(crate) fn relay_sends(&self, body: Bytes) -> Load {
        Load::new(Target { address: self.relay.address, path: STREAM.into() }, self.upstream_headers(), body)
    }

    /// What the upstream wants to be sent with a body.
    pub(crate) fn upstream_headers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("authorization", format!("Bearer {}", self.access_token)),
            ("accept", "text/event-stream".into()),
            ("user-agent", "antigravity/2.0.3 linux/x64".into()),
            ("x-machine-session-id", body::SESSION.into()),
        ]
    }

    /// The request of `case` to the gateway.
    pub(crate) fn gateway_load(&self, case: &Case) -> Load {
        gateway_sends(&self.gateway, body::messages(case))
    }
}

/// A request of this body to `gateway`.
pub(crate) fn gateway_sends(gateway: &Child, body: Bytes) -> Load {
    Load::new(
        Target { address: gateway.address, path: "/v1/messages?beta=true".into() },
        vec![("x-api-key", API_KEY.into()), ("anthropic-version", "2023-06-01".into())],
        body,
    )
}
