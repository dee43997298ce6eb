//! All scripts, composed at compile time from their shared pieces (`scripts/lib`) and themselves.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

use super::script::Script;

macro_rules! scripts {
    ($($constant:ident = $durability:ident $name:literal [$($lib:literal)*];)*) => {
        $(
            #[doc = concat!("`scripts/", $name, ".lua`; its head says what it does.")]
            pub static $constant: Script = Script::$durability(
                $name,
                concat!($(include_str!(concat!("scripts/lib/", $lib, ".lua")),)* include_str!(concat!("scripts/", $name, ".lua"))),
            );
        )*

        /// Every script, for hosts to load at start.
        pub static ALL: &[&Script] = &[$(&$constant),*];
    };
}

scripts! {
    ADMIT = periodic "admit" ["clock" "fields" "hot" "trackers" "settings" "tokens" "locks" "leases" "selection"];
    HEARTBEAT = periodic "heartbeat" ["clock" "fields" "hot" "leases"];
    SETTLE = periodic "settle" ["clock" "fields" "hot" "trackers" "limits" "settings" "locks" "usage"];
    RELEASE = periodic "release" ["clock" "fields" "hot" "trackers" "settings" "locks"];
    GET_CREDENTIAL = periodic "get_credential" ["clock"];
    FIND_ACCOUNT = periodic "find_account" ["clock" "hot"];
    PUT_ACCOUNT = fsync "put_account" ["clock" "fields" "hot" "settings" "thresholds"];
    REMOVE_ACCOUNT = fsync "remove_account" ["clock" "fields" "thresholds"];
    LIST_ACCOUNTS = periodic "list_accounts" ["clock" "fields" "hot" "trackers" "limits" "settings" "tokens"];
    SET_ACCOUNT = fsync "set_account" ["clock" "fields" "hot" "thresholds"];
    INVALIDATE_ACCOUNT = fsync "invalidate_account" ["clock" "hot"];
    CLEAR_INVALID = fsync "clear_invalid" ["clock" "hot"];
    BEGIN_REFRESH = periodic "begin_refresh" ["clock" "fields" "hot" "tokens" "locks"];
    FINISH_REFRESH = periodic "finish_refresh" ["clock" "hot" "tokens" "locks"];
    FAIL_REFRESH = fsync "fail_refresh" ["clock" "hot" "locks"];
    DROP_TOKEN = periodic "drop_token" ["clock" "tokens"];
    PUT_SIGNATURES = periodic "put_signatures" ["clock"];
    GET_SIGNATURES = periodic "get_signatures" ["clock"];
    PUT_QUOTA = periodic "put_quota" ["clock" "fields" "hot" "limits"];
    PUT_MODELS = periodic "put_models" ["clock"];
    GET_MODELS = periodic "get_models" ["clock"];
    TRY_LOCK = periodic "try_lock" ["clock" "locks"];
    UNLOCK = periodic "unlock" ["clock" "locks"];
    GET_SETTINGS = periodic "get_settings" ["clock"];
    REHEARSE = periodic "rehearse" ["clock"];
    PUT_SETTINGS = fsync "put_settings" ["clock"];
    ANNOUNCE_REPLICA = periodic "announce_replica" ["clock" "fields" "replicas"];
    RETIRE_REPLICA = periodic "retire_replica" ["clock"];
    LIST_REPLICAS = periodic "list_replicas" ["clock" "fields" "replicas"];
}

/// Names the set of scripts of this build: the first 12 hex digits of the SHA-256 over their names and texts. Two
/// replicas of one pool that differ in it follow different rules, as they may during a rollout.
pub static DIGEST: LazyLock<String> = LazyLock::new(|| digest(ALL));

fn digest(scripts: &[&Script]) -> String {
    let mut hash = Sha256::new();
    for part in scripts.iter().flat_map(|script| [script.name, script.source]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let first = digest[..6].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    format!("{first:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_script_changes_the_digest() {
        let (a, b) = (Script::periodic("a", "return 1"), Script::periodic("a", "return 2"));
        let (c, d) = (Script::periodic("ar", "eturn 1"), Script::periodic("b", "return 1"));
        for other in [&b, &c, &d] {
            assert_ne!(digest(&[&a]), digest(&[other]));
        }
        assert_eq!(DIGEST.len(), 12);
    }
}
