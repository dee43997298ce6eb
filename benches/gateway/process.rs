//! The processes under test, and what the kernel says about them.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{load, relay};

/// What the gateway under test accepts.
pub(crate) const API_KEY: &str = "bench";
/// `USER_HZ`, which Linux fixes at 100 for everything it shows in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

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
    fn start(mut command: Command) -> Result<Self> {
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

    /// User and system time of all threads, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("malformed stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS_PER_SECOND)
    }

    /// Resident set size in kB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("malformed VmRSS")?.parse()?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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
    _simulator: Child,
    _data: tempfile::TempDir,
}

impl Setup {
    pub(crate) async fn start() -> Result<Self> {
        let data = tempfile::tempdir()?;
        let accounts = data.path().join("accounts.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudcode-sim"));
        command
            .args(["--port", "0", "--scenario", "bench", "--accounts", "50", "--write-accounts"])
            .arg(&accounts);
        let simulator = Child::start(command)?;

        let mut command = Command::new(std::env::current_exe()?);
        let (name, value) = relay::environment(&simulator.url);
        command.env(name, value);
        let relay = Child::start(command)?;

        let gateway_binary = env!("CARGO_BIN_EXE_antigravity-proxy");
        let gateway_command = || {
            let mut command = Command::new(gateway_binary);
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
                    ("CLOUDCODE_ENDPOINTS", &simulator.url),
                ])
                .env("OAUTH_TOKEN_URL", format!("{}/token", simulator.url))
                .env("DATA_DIR", data.path().join("data"))
                .env("HOME", data.path());
            command
        };
        let imported = gateway_command().args(["accounts", "import"]).arg(&accounts).output()?;
        if !imported.status.success() {
            bail!("import failed: {}", String::from_utf8_lossy(&imported.stderr));
        }
        let gateway = Child::start(gateway_command())?;
        let idle_kib = gateway.resident_kib()?;

        let account: Value = serde_json::from_slice(&std::fs::read(&accounts)?)?;
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
        Ok(Self {
            relay,
            gateway,
            project,
            access_token,
            idle_kib,
            gateway_binary,
            _simulator: simulator,
            _data: data,
        })
    }
}
