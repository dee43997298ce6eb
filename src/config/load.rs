//! Loading: finds the file, stacks the layers, checks what spans several settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::config::ValueKind;

use super::layer::{Layer, Reader};
use super::problem::{ConfigErrors, Origin, Problem};
use super::settings::SETTINGS;
use super::values::Values;
use super::{CallbackMode, Config};

/// Flags of the command line that are settings.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--dev-mode`.
    pub dev_mode: bool,
    /// `--debug`.
    pub debug: bool,
    /// `--fallback`.
    pub fallback: bool,
    /// `--strategy NAME`.
    pub strategy: Option<String>,
    /// `--port N`.
    pub port: Option<u16>,
    /// `--host ADDRESS`.
    pub host: Option<String>,
}

impl Flags {
    fn list(&self) -> Vec<(&'static str, String)> {
        let switches =
            [("--dev-mode", self.dev_mode), ("--debug", self.debug), ("--fallback", self.fallback)];
        let values = [
            ("--strategy", self.strategy.clone()),
            ("--port", self.port.map(|port| port.to_string())),
            ("--host", self.host.clone()),
        ];
        let on = switches.into_iter().filter(|(_, on)| *on).map(|(flag, _)| (flag, "true".to_owned()));
        on.chain(values.into_iter().filter_map(|(flag, value)| Some((flag, value?)))).collect()
    }
}

/// Everything loading depends on, so that tests need no process environment.
#[derive(Clone, Debug, Default)]
pub struct LoadInput {
    /// Flags of the command line.
    pub flags: Flags,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// The user's home directory.
    pub home: Option<PathBuf>,
}

impl LoadInput {
    /// What this process was started with. Variables that are not UTF-8 are left out.
    #[must_use]
    pub fn from_process(flags: Flags) -> Self {
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Self { flags, env, cwd, home: std::env::home_dir().filter(|home| home.is_absolute()) }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The outcome of a load without errors: the settings, and the layers they were merged from, so that values of
/// the shared store can be put in between at any time ([`Loaded::with_shared`]).
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where each setting that has a value came from, by key.
    pub origins: BTreeMap<&'static str, Origin>,
    /// What is allowed but deserves attention, one sentence each.
    pub warnings: Vec<String>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    pub(super) values: Values,
    pub(super) layers: Arc<Layers>,
}

/// What one process brings of its own, around the shared store.
#[derive(Debug)]
pub(super) struct Layers {
    /// Defaults and the file.
    pub(super) below: Vec<Layer>,
    /// Environment and flags.
    pub(super) above: Vec<Layer>,
    /// Both together, as typed settings.
    pub(super) own: Config,
    pub(super) cwd: PathBuf,
}

impl Layers {
    /// Stacks the layers, with `shared` in its place between them.
    pub(super) fn merge(&self, shared: &Layer) -> Result<Values, Problem> {
        let layers: Vec<_> = self.below.iter().chain([shared]).chain(&self.above).collect();
        let (mut origins, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (place, layer) in layers.iter().enumerate() {
            for (setting, origin, _) in &layer.values {
                origins.insert(setting.key, origin.clone());
                places.insert(setting.key, place);
            }
        }
        let mut builder = ::config::Config::builder();
        for (place, layer) in layers.into_iter().enumerate() {
            // Tables would be mixed with those of earlier layers, so that nothing could be taken out of them.
            let last = layer.values.iter().filter(|(setting, ..)| places.get(setting.key) == Some(&place));
            builder = builder.add_source(Layer { values: last.cloned().collect() });
        }
        match builder.build() {
            Ok(root) => Ok(Values::new(root, origins)),
            Err(error) => Err(Problem::new("", &Origin::Default, error.to_string())),
        }
    }
}

impl Config {
    /// Loads the settings of one process.
    ///
    /// # Errors
    ///
    /// Everything that is wrong in any source, also where another source would win.
    pub fn load(input: &LoadInput) -> Result<Loaded, ConfigErrors> {
        let mut problems = Vec::new();
        let file = find_file(input, &mut problems);
        let mut reader = Reader { cwd: &input.cwd, problems: &mut problems };
        let mut below = vec![Reader::defaults()];
        below.extend(file.as_deref().map(|path| reader.file(path)));
        let above = vec![reader.environment(&input.env), reader.flags(&input.flags.list())];
        let mut layers = Layers { below, above, own: Self::default(), cwd: input.cwd.clone() };
        let values = match layers.merge(&Layer::default()) {
            Ok(values) => values,
            Err(problem) => {
                problems.push(problem);
                return Err(ConfigErrors { problems });
            }
        };

        let mut config = Config::default();
        config.apply(&values);
        if input.variable("KUBERNETES_SERVICE_HOST").is_some() && !values.is_set("drainDelayMs") {
            config.server.drain_delay = Duration::from_secs(5);
        }
        if input.variable("KUBERNETES_SERVICE_HOST").is_some() && !values.is_set("oauth.callbackListener") {
            // Nobody's browser runs in a pod.
            config.oauth.callback_listener = CallbackMode::Off;
        }
        if !values.is_set("claudeCli.configPath") {
            config.claude.directory = input.home.as_ref().map(|home| home.join(".claude"));
        }
        if !values.is_set("dataDir") {
            match confdir(input) {
                Some(dir) => config.store.data_dir = dir.join("data"),
                None => problems.push(Problem::new(
                    "dataDir",
                    &Origin::Default,
                    "the user has no home directory; set DATA_DIR",
                )),
            }
        }
        let mut warnings = Vec::new();
        check_together(&values, &mut problems, &mut warnings);
        if config.store.redis.is_some() && config.store.encryption_keys.is_empty() {
            let reason = "a store in Redis needs the same keys at every gateway: set ENCRYPTION_KEYS, to the content of \
                          DATA_DIR/encryption.key when the pool was exported from there, else to the output of \
                          `openssl rand -base64 32`";
            problems.push(Problem::new("encryptionKeys", values.origin("encryptionKeys"), reason));
        }
        warn(&config, &values, file.as_deref(), &mut warnings);
        if problems.is_empty() {
            layers.own = config.clone();
            let origins = values.origins.clone();
            Ok(Loaded { config, origins, warnings, file, values, layers: Arc::new(layers) })
        } else {
            Err(ConfigErrors { problems })
        }
    }

    pub(super) fn apply(&mut self, values: &Values) {
        self.server.apply(values);
        self.claude.apply(values);
        self.store.apply(values);
        self.upstream.apply(values);
        self.oauth.apply(values);
        self.dispatch.apply(values);
        self.selection.apply(values);
        self.models.apply(values);
        self.conversion.apply(values);
        self.telemetry.apply(values);
        self.tracing.apply(values);
    }
}

fn confdir(input: &LoadInput) -> Option<PathBuf> {
    Some(input.home.as_ref()?.join(".config/antigravity-proxy"))
}

/// `CONFIG_FILE`, else `<confdir>/config.json`, else `./config.json`; the first that exists, never two.
fn find_file(input: &LoadInput, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    if let Some(named) = input.variable("CONFIG_FILE") {
        let path = input.cwd.join(named);
        if !path.is_file() {
            let reason = format!("{} is not a file", path.display());
            problems.push(Problem::new("", &Origin::Env("CONFIG_FILE".into()), reason));
            return None;
        }
        return Some(path);
    }
    let primary = confdir(input).map(|dir| dir.join("config.json"));
    primary.into_iter().chain([input.cwd.join("config.json")]).find(|path| path.is_file())
}

/// The first of each pair must not exceed the other.
static ORDERED: [[&str; 2]; 6] = [
    ["retryBaseMs", "retryMaxMs"],
    ["accountSelection.quota.criticalThreshold", "accountSelection.quota.lowThreshold"],
    ["accountSelection.healthScore.minUsable", "accountSelection.healthScore.maxScore"],
    ["accountSelection.healthScore.initial", "accountSelection.healthScore.maxScore"],
    ["accountSelection.tokenBucket.initialTokens", "accountSelection.tokenBucket.maxTokens"],
    ["tracing.batch.size", "tracing.batch.queue"],
];
/// Not all of them may be 0.
static WEIGHTS: [&str; 4] = [
    "accountSelection.weights.health",
    "accountSelection.weights.tokens",
    "accountSelection.weights.quota",
    "accountSelection.weights.lru",
];

/// Checks across settings (spec `http-api.md` §3.3), on the merged result.
pub(super) fn check_together(values: &Values, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) {
    let number = |key: &str| match values.get(key) {
        #[expect(clippy::cast_precision_loss, reason = "ranges end far below 2^53")]
        Some(ValueKind::I64(number)) => Some(*number as f64),
        Some(ValueKind::Float(number)) => Some(*number),
        _ => None,
    };
    for among in &ORDERED {
        let [small, large] = *among;
        let (Some(low), Some(high)) = (number(small), number(large)) else { continue };
        if low > high {
            // The one that somebody set is at fault; of two, the smaller name's.
            let (key, other) = if values.is_set(small) { (small, large) } else { (large, small) };
            let reason = format!(
                "{small} is {low} and {large} is {high} ({other} from {}); {small} must not exceed {large}",
                values.origin(other)
            );
            problems.push(Problem { among, ..Problem::new(key, values.origin(key), reason) });
        }
    }
    if WEIGHTS.iter().all(|key| number(key) == Some(0.0)) {
        let origin = values.origin(WEIGHTS[0]);
        let reason = "at least one weight must not be 0";
        problems
            .push(Problem { among: &WEIGHTS, ..Problem::new("accountSelection.weights", origin, reason) });
    }
    let (refresh, stale) = ("accountSelection.quota.refreshIntervalMs", "accountSelection.quota.staleMs");
    if number(refresh) > number(stale) {
        let key = if values.is_set(refresh) { refresh } else { stale };
        warnings.push(format!(
            "{key} ({}): quotas are fetched less often than they go stale, so thresholds do not always bind",
            values.origin(key)
        ));
    }
    if let Some(ValueKind::Array(tiers)) = values.get("capacityBackoffTiersMs") {
        let tiers: Vec<i64> = tiers.iter().filter_map(|tier| tier.clone().into_int().ok()).collect();
        if !tiers.is_sorted() {
            warnings.push(format!(
                "capacityBackoffTiersMs ({}): a later wait is shorter than an earlier one",
                values.origin("capacityBackoffTiersMs")
            ));
        }
    }
}

fn warn(config: &Config, values: &Values, file: Option<&Path>, warnings: &mut Vec<String>) {
    if config.server.api_keys.is_empty() && !config.server.is_loopback() {
        warnings.push(format!(
            "whoever reaches {}:{} can use the pool unless client keys were made (`keys create`): no API key is set (API_KEY), and the address is not a loopback one (HOST)",
            config.server.host, config.server.port
        ));
    }
    if values.is_set("redis.url") && values.is_set("redisAddr") {
        warnings.push(format!(
            "redisAddr ({}) is ignored: redis.url ({}) is set",
            values.origin("redisAddr"),
            values.origin("redis.url")
        ));
    }
    if config.server.allow_insecure_console && config.server.webui_password.is_none() {
        warnings.push(
            "the console is open to whoever reaches this address: allowInsecureConsole is on and no password is set (WEBUI_PASSWORD)"
                .into(),
        );
    }
    for setting in SETTINGS.iter().filter(|setting| setting.reserved && values.is_set(setting.key)) {
        warnings.push(format!(
            "{} ({}): accepted, but without effect. {}",
            setting.key,
            values.origin(setting.key),
            setting.meaning
        ));
    }
    if let Some(file) = file
        && readable_by_others(file)
        && SETTINGS.iter().any(|s| s.is_secret() && matches!(values.origin(s.key), Origin::File(_)))
    {
        warnings.push(format!(
            "{} holds secrets and other users of this machine may read it: chmod 600",
            file.display()
        ));
    }
}

#[cfg(unix)]
fn readable_by_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn readable_by_others(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests;
