//! The Node.js program that the gateway is compatible with, npm's `antigravity-claude-proxy`.
//!
//! The hosts of its upstream are constants in its source. What the contract suite loads before it (`redirect.mjs`) reads
//! every request a second time, which would be charged to the program here; so what runs is a copy, made at each start,
//! in which those constants are others and nothing on the way of a request is. Two more changes are in its favour or for
//! safety: it prints and keeps no lines below a warning, as the gateway does at its `LOG_LEVEL`, and it listens on the
//! loopback interface only.
//!
//! Of all strategies it has one: it stays with an account until that is exhausted. The gateway takes turns.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::peers::MISSING;
use crate::process::{Child, Upstream};
use crate::redis_server::free_port;

/// Before the first round of a case: what V8 compiles, and compiles again when it knows more, is not what is measured.
pub(crate) const WARM_UP: Duration = Duration::from_secs(5);
/// The oldest release of Node.js whose `fetch` heeds `HTTPS_PROXY`.
const NODE: u32 = 24;
const MODULES: &str = "tests/console/node_modules";
const NAME: &str = "antigravity-claude-proxy";

/// Where gateway and reference find the upstream.
pub(crate) enum Way {
    /// In the clear, at the simulator itself.
    Plain { simulator: String },
    /// With TLS, through a proxy, at names that no resolver knows: one that heeds no proxy gets nowhere.
    Tls { proxy: String, authority: PathBuf },
}

impl Way {
    /// Names that [`Self::Tls`] uses, as a certificate has them.
    pub(crate) const NAMES: &str = "DNS:*.bench.invalid";

    fn url(&self, host: &str) -> String {
        match self {
            Self::Plain { simulator } => simulator.clone(),
            Self::Tls { .. } => format!("https://{host}.bench.invalid"),
        }
    }

    /// Where Cloud Code is: one endpoint for each of the gateway's defaults.
    fn endpoints(&self) -> [String; 2] {
        [self.url("daily-cloudcode-pa"), self.url("cloudcode-pa")]
    }

    fn token(&self) -> String {
        format!("{}/token", self.url("oauth2"))
    }

    /// What tells the gateway.
    pub(crate) fn gateway(&self) -> Vec<(&'static str, String)> {
        let mut told =
            vec![("CLOUDCODE_ENDPOINTS", self.endpoints().join(",")), ("OAUTH_TOKEN_URL", self.token())];
        if let Self::Tls { proxy, authority } = self {
            told.push(("HTTPS_PROXY", proxy.clone()));
            told.push(("SSL_CERT_FILE", authority.display().to_string()));
        }
        told
    }

    /// What tells Node.js.
    fn node(&self) -> Vec<(&'static str, OsString)> {
        match self {
            Self::Plain { .. } => Vec::new(),
            Self::Tls { proxy, authority } => vec![
                ("NODE_USE_ENV_PROXY", "1".into()),
                ("HTTPS_PROXY", proxy.into()),
                ("NODE_EXTRA_CA_CERTS", authority.into()),
            ],
        }
    }
}

/// Starts a copy of it, with all accounts of `upstream`; everything it writes is below `folder`.
pub(crate) fn start(upstream: &Upstream, way: &Way, folder: &Path) -> Result<Child> {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join(MODULES);
    let package = modules.join(NAME);
    ensure!(package.exists(), "the reference is not installed: {MISSING}");
    let program = folder.join("program");
    copy(&package.join("src"), &program.join("src"))?;
    std::fs::copy(package.join("package.json"), program.join("package.json"))?;
    // Where Node.js looks for what it needs.
    std::os::unix::fs::symlink(&modules, program.join("node_modules"))?;
    let [daily, production] = way.endpoints();
    replace(
        &program.join("src/constants.js"),
        &[
            ("https://daily-cloudcode-pa.googleapis.com", &daily),
            ("https://cloudcode-pa.googleapis.com", &production),
            ("https://oauth2.googleapis.com/token", &way.token()),
        ],
    )?;
    let print = "print(level, color, message, ...args) {";
    let quiet = format!("{print}\nif (level === 'INFO' || level === 'SUCCESS') return;");
    replace(&program.join("src/utils/logger.js"), &[(print, &quiet)])?;
    replace(&program.join("src/index.js"), &[("app.listen(PORT, ", "app.listen(PORT, '127.0.0.1', ")])?;
    let home = folder.join("home");
    let settings = home.join(".config/antigravity-proxy");
    std::fs::create_dir_all(&settings)?;
    std::fs::write(settings.join("accounts.json"), accounts(&upstream.accounts)?)?;

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut command = Command::new(node()?);
    command
        .current_dir(folder)
        .env_clear()
        .env("HOME", home)
        .env("PORT", address.port().to_string())
        .env("NODE_ENV", "production")
        .envs(way.node())
        .arg(program.join("src/index.js"));
    Child::start_at(command, address)
}

/// Node.js's own program: what is called so in a Python environment only starts it.
#[expect(clippy::disallowed_methods, reason = "where programs are is the environment's to say")]
fn node() -> Result<PathBuf> {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(environment).chain(std::env::split_paths(&path));
    for place in places.map(|place| place.join("node")).filter(|place| place.exists()) {
        let told =
            Command::new(place).args(["-p", "process.versions.node + ' ' + process.execPath"]).output()?;
        let told = String::from_utf8(told.stdout)?;
        if let Some((version, program)) = told.trim().split_once(' ')
            && version
                .split('.')
                .next()
                .and_then(|major| major.parse().ok())
                .is_some_and(|major: u32| major >= NODE)
        {
            return Ok(program.into());
        }
    }
    Err(anyhow::anyhow!("there is no Node.js {NODE} or later: {MISSING}"))
}

/// The accounts as this version reads them: it knows no tokens that name a project.
fn accounts(file: &Path) -> Result<String> {
    let mut known: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    for account in known["accounts"].as_array_mut().context("no accounts")? {
        let composite = account["refreshToken"].as_str().context("no refresh token")?.to_owned();
        let (token, project) = composite.split_once('|').unwrap_or((&composite, ""));
        account["refreshToken"] = json!(token);
        account["projectId"] = json!(project.split('|').find(|segment| !segment.is_empty()));
    }
    Ok(known.to_string())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Each of these texts is once in the file, or it is not the version that this was written for.
fn replace(file: &Path, changes: &[(&str, &str)]) -> Result<()> {
    let mut text = std::fs::read_to_string(file)?;
    for (old, new) in changes {
        ensure!(text.matches(old).count() == 1, "{} has {old:?} not once", file.display());
        text = text.replace(old, new);
    }
    Ok(std::fs::write(file, text)?)
}
