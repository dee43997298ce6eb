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
    ADMIT = periodic "admit" ["clock" "fields" "hot" "limits" "trackers" "settings" "tokens" "locks" "leases" "selection"];
    HEARTBEAT = periodic "heartbeat" ["clock" "fields" "hot" "leases"];
    SETTLE = periodic "settle" ["clock" "fields" "hot" "trackers" "limits" "settings" "locks" "usage"];
    COUNT_REQUEST = periodic "count_request" ["clock" "usage"];
    GET_USAGE = periodic "get_usage" ["clock"];
    NOTE_CAPACITY = periodic "note_capacity" ["clock"];
    RELEASE = periodic "release" ["clock" "fields" "hot" "trackers" "settings" "locks"];
    GET_CREDENTIAL = periodic "get_credential" ["clock"];
    FIND_ACCOUNT = periodic "find_account" ["clock"];
    PUT_ACCOUNT = fsync "put_account" ["clock" "fields" "hot" "settings" "thresholds" "audit"];
    REMOVE_ACCOUNT = fsync "remove_account" ["clock" "fields" "limits" "thresholds" "audit"];
    LIST_ACCOUNTS = periodic "list_accounts" ["clock" "fields" "hot" "trackers" "limits" "settings" "tokens" "listing"];
    GET_ACCOUNT = periodic "get_account" ["clock" "fields" "hot" "trackers" "settings" "tokens" "listing"];
    COUNT_ACCOUNTS = periodic "count_accounts" ["clock" "hot" "limits" "settings"];
    SET_ACCOUNT = fsync "set_account" ["clock" "fields" "hot" "thresholds" "audit"];
    INVALIDATE_ACCOUNT = fsync "invalidate_account" ["clock" "hot"];
    CLEAR_INVALID = fsync "clear_invalid" ["clock" "hot"];
    BEGIN_REFRESH = periodic "begin_refresh" ["clock" "fields" "hot" "tokens" "locks"];
    FINISH_REFRESH = periodic "finish_refresh" ["clock" "hot" "tokens" "locks"];
    FAIL_REFRESH = fsync "fail_refresh" ["clock" "hot" "tokens" "locks"];
    LIST_SEALED = periodic "list_sealed" ["clock" "tokens"];
    RESEAL = fsync "reseal" ["clock" "tokens"];
    LIST_KEYS = periodic "list_keys" ["clock" "tokens" "sealed"];
    ADD_KEY = fsync "add_key" ["clock"];
    FORGET_KEY = fsync "forget_key" ["clock" "fields" "tokens" "sealed"];
    GET_OUTAGE = periodic "get_outage" ["clock"];
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
    PUT_SETTINGS = fsync "put_settings" ["clock" "fields" "audit"];
    NOTE_IMPORT = fsync "note_import" ["clock"];
    ANNOUNCE_REPLICA = periodic "announce_replica" ["clock" "fields" "replicas"];
    ASK_REPLICAS = periodic "ask_replicas" ["clock" "fields" "replicas"];
    PUT_ANSWER = periodic "put_answer" ["clock"];
    GET_ANSWERS = periodic "get_answers" ["clock"];
    END_QUESTION = periodic "end_question" ["clock"];
    REFRESH_ACCOUNTS = fsync "refresh_accounts" ["clock" "fields" "hot" "tokens" "locks"];
    FORGET_SIGNATURES = periodic "forget_signatures" ["clock"];
    RETIRE_REPLICA = periodic "retire_replica" ["clock"];
    LIST_REPLICAS = periodic "list_replicas" ["clock" "fields" "replicas"];
    PUT_CLIENT = fsync "put_client" ["clock" "fields" "clients" "audit"];
    CHANGE_CLIENT = fsync "change_client" ["clock" "fields" "clients" "audit"];
    LIST_CLIENTS = periodic "list_clients" ["clock" "fields" "clients"];
    TOUCH_CLIENTS = periodic "touch_clients" ["clock"];
    BEGIN_SIGNIN = fsync "begin_signin" ["clock" "fields" "signins"];
    TAKE_SIGNIN = periodic "take_signin" ["clock" "fields" "signins"];
    END_SIGNIN = periodic "end_signin" ["clock" "fields" "signins"];
    GET_SIGNIN = periodic "get_signin" ["clock" "fields" "signins"];
    RESTORE_ACCOUNT = fsync "restore_account" ["clock" "fields" "hot" "limits"];
    MERGE_ROWS = fsync "merge_rows" ["clock"];
    MERGE_USAGE = fsync "merge_usage" ["clock" "usage"];
    APPEND_AUDIT = fsync "append_audit" ["clock" "fields" "audit"];
    LIST_AUDIT = periodic "list_audit" ["clock" "fields"];
    CHECK_SESSION = periodic "check_session" ["clock" "fields" "console"];
    BEGIN_ATTEMPT = periodic "begin_attempt" ["clock" "fields" "console" "tries"];
    END_ATTEMPT = periodic "end_attempt" ["clock" "fields" "audit" "tries"];
    OPEN_SESSION = periodic "open_session" ["clock" "fields" "audit" "console"];
    END_SESSIONS = fsync "end_sessions" ["clock" "fields" "audit" "console"];
    SET_PASSWORD = fsync "set_password" ["clock" "fields" "audit" "console"];
    PUT_SETUP = periodic "put_setup" ["clock"];
    PUT_TICKET = periodic "put_ticket" ["clock" "fields"];
    TAKE_TICKET = fsync "take_ticket" ["clock" "fields"];
    LIST_TRACKERS = periodic "list_trackers" ["clock" "fields" "hot" "trackers" "settings"];
    LIST_PRESETS = periodic "list_presets" ["clock"];
    PUT_PRESET = fsync "put_preset" ["clock" "fields" "audit"];
    CHANGE_PRESET = fsync "change_preset" ["clock" "fields" "audit"];
    REMOVE_PRESET = fsync "remove_preset" ["clock" "fields" "audit"];
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
