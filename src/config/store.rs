//! Where shared state lives.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::redis::RedisConfig;
use super::values::Values;

/// Where shared state lives.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `pool` / `POOL`: the hash tag of all keys, default `main`.
    pub pool: String,
    /// `redis.url` / `REDIS_URL`, or `redisAddr` / `REDIS_ADDR`; none keeps the store in this process.
    pub redis: Option<RedisConfig>,
    /// `dataDir` / `DATA_DIR`: journal, lock, key file, control socket; default `<confdir>/data`.
    pub data_dir: PathBuf,
    /// `ENCRYPTION_KEYS`: base64 of 32 bytes each, newest first; empty on the embedded store creates a key file.
    pub encryption_keys: Vec<SecretString>,
    /// `storeOutageGraceMs`, default 20 s.
    pub outage_grace: Duration,
    /// `leaseTtlMs`, default 30 s; renewed every third of it.
    pub lease_ttl: Duration,
    /// `signatureTtlMs`, default 2 h, sliding.
    pub signature_ttl: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            pool: "main".into(),
            redis: None,
            data_dir: PathBuf::from("data"),
            encryption_keys: Vec::new(),
            outage_grace: Duration::from_secs(20),
            lease_ttl: Duration::from_secs(30),
            signature_ttl: Duration::from_hours(2),
        }
    }
}

impl StoreConfig {
    pub(super) fn apply(&mut self, values: &Values) {
        values.string("pool", &mut self.pool);
        if let Some(redis) = RedisConfig::read(values) {
            self.redis = Some(redis);
        }
        if let Some(path) = values.text("dataDir") {
            self.data_dir = PathBuf::from(path);
        }
        values.secrets("encryptionKeys", &mut self.encryption_keys);
        values.millis("storeOutageGraceMs", &mut self.outage_grace);
        values.millis("leaseTtlMs", &mut self.lease_ttl);
        values.millis("signatureTtlMs", &mut self.signature_ttl);
    }

    /// `DATA_DIR/control.sock`: where a running gateway answers the commands of this machine's user.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.data_dir.join("control.sock")
    }
}
