//! The access token of the desktop application, out of its database `state.vscdb` (spec `http-api.md` §7).
//!
//! The application writes while this reads: the file is opened for reading only, never as immutable, and a lock is
//! waited for. Two layouts of the table `ItemTable` are known: `antigravityUnifiedStateSync.oauthToken`, nested
//! protobuf messages in base64 with the token and its end, which newer versions write, and `antigravityAuthStatus`,
//! JSON with `apiKey`, `email` and `name`. `jetskiStateSync.agentManagerInitState` holds the same token message as the
//! first, as field 6. The first that has a token counts; the address comes from `antigravityAuthStatus` alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::protobuf::{self, Field};
use crate::clock::Clock;

/// How long a writer may keep the database locked.
const BUSY: Duration = Duration::from_millis(500);
/// How long the statements may take together.
const LONGEST: Duration = Duration::from_secs(1);
/// How long anything else may: opening a file that does not answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The largest value that is read, in bytes; one with a token is a hundred times smaller.
const VALUE_MAX: i32 = 4 << 20;
/// Instructions of `SQLite` between two looks at the clock.
const STEP: i32 = 1000;

const UNIFIED: &str = "antigravityUnifiedStateSync.oauthToken";
const AGENT: &str = "jetskiStateSync.agentManagerInitState";
const STATUS: &str = "antigravityAuthStatus";
/// The row of the unified state that holds the token.
const SENTINEL: &[u8] = b"oauthTokenInfoSentinelKey";

/// What the database says.
#[derive(Debug)]
pub struct SignedIn {
    /// The OAuth access token.
    pub token: SecretString,
    /// When it ends, seconds since the epoch, where the layout says so.
    pub ends_s: Option<i64>,
    /// Whose it is, where the layout says so.
    pub email: Option<String>,
}

/// Why the database gives no token. No text holds one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DesktopError {
    /// There is no such file, or it is no database.
    #[error("Database not found at {}. Make sure Antigravity is installed and you are logged in", .path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// No home directory, so that the usual place is unknown.
    #[error("the user has no home directory: name the database's path")]
    NoHome,
    /// The application kept it locked.
    #[error("the Antigravity database is locked; try again")]
    Busy,
    /// Another failure of the database.
    #[error("Failed to read Antigravity database: {0}")]
    Unreadable(String),
    /// The token has ended, and the application has not fetched another one.
    #[error("the Antigravity sign-in has ended: open Antigravity")]
    Ended,
    /// Reading took too long.
    #[error("reading the Antigravity database took too long and was given up")]
    Interrupted,
    /// No known layout holds a token.
    #[error("No auth status found in database: sign in to Antigravity")]
    SignedOut,
    /// The application signed in, but its record has no token.
    #[error("Auth data missing apiKey field")]
    NoToken,
}

#[derive(Deserialize)]
struct Status {
    #[serde(rename = "apiKey")]
    api_key: Option<String>,
    email: Option<String>,
}

/// [`read`] beside the tasks of the runtime, for as long as it may take.
///
/// # Errors
///
/// Those of [`read`].
pub async fn fetch(path: PathBuf) -> Result<SignedIn, DesktopError> {
    let reading = tokio::task::spawn_blocking(move || read(&path));
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Err(DesktopError::Interrupted),
    }
}

/// Reads the token; blocks for up to a second and the time of the disk, so it belongs on a blocking thread.
///
/// The file may be anybody's: nothing in it is run, no value of any size and no endless query is waited for.
///
/// # Errors
///
/// Each is about this one file: the account rests, the request goes on with another.
pub fn read(path: &Path) -> Result<SignedIn, DesktopError> {
    let missing = || DesktopError::NotFound { path: path.to_owned() };
    // Links are followed as SQLite does, which looks for the other files beside the target.
    let path = path.canonicalize().map_err(|_| missing())?;
    if !path.is_file() {
        return Err(missing());
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut beside = path.clone().into_os_string();
        beside.push(suffix);
        // Opening a pipe waits for its other end.
        if std::fs::metadata(&beside).is_ok_and(|found| !found.is_file()) {
            return Err(DesktopError::Unreadable(format!("its {suffix} is no regular file")));
        }
    }
    let connection = open(&path).map_err(|error| fault(&error))?;
    if !is_plain(&connection).map_err(|error| fault(&error))? {
        return Err(DesktopError::Unreadable("it has no plain table ItemTable".into()));
    }
    let value = |key: &str| -> Result<Option<Zeroizing<Vec<u8>>>, DesktopError> {
        let query = "SELECT CAST(value AS BLOB) FROM ItemTable WHERE key = ?1";
        let row = connection.query_row(query, [key], |row| row.get::<_, Option<Vec<u8>>>(0)).optional();
        match row {
            Ok(value) => Ok(value.flatten().map(Zeroizing::new)),
            // Another layout may hold the token.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::TooBig) => Ok(None),
            Err(error) => Err(fault(&error)),
        }
    };
    let status = value(STATUS)?;
    let (key, email) = match status.as_ref().map(|text| serde_json::from_slice::<Status>(text)) {
        Some(Ok(status)) => {
            let key = status.api_key.map(Zeroizing::new).filter(|key| !key.is_empty());
            (key.map(|key| SecretString::from(key.as_str())), status.email)
        }
        Some(Err(_)) | None => (None, None),
    };
    let email = email.map(|email| email.trim().to_lowercase()).filter(|email| email.contains('@'));
    let token = value(UNIFIED)?
        .and_then(|text| unified(&text))
        .or(value(AGENT)?.and_then(|text| token_of(&protobuf::bytes(&base64(&text)?, 6)?)));
    match (token, key) {
        (Some((token, ends_s)), _) => Ok(SignedIn { token, ends_s, email }),
        (None, Some(token)) => Ok(SignedIn { token, ends_s: None, email }),
        (None, None) if status.is_some() => Err(DesktopError::NoToken),
        (None, None) => Err(DesktopError::SignedOut),
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_MAX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    let clock = Clock::system();
    let until = clock.instant() + LONGEST;
    connection.progress_handler(STEP, Some(move || clock.instant() > until))?;
    Ok(connection)
}

/// Whether `ItemTable` is a table, no view and not virtual, of which no column is computed: reading it runs nothing that
/// the file brings along.
fn is_plain(connection: &Connection) -> rusqlite::Result<bool> {
    // What was made of the schema, whatever sqlite_master calls it.
    let query =
        "SELECT count(*) FROM pragma_table_list('ItemTable') WHERE schema = 'main' AND type = 'table'";
    let tables: i64 = connection.query_row(query, [], |row| row.get(0))?;
    let query = "SELECT count(*) FROM pragma_table_xinfo('ItemTable') WHERE hidden <> 0";
    let computed: i64 = connection.query_row(query, [], |row| row.get(0))?;
    Ok(tables == 1 && computed == 0)
}

/// The library's texts name tables and states, never values.
fn fault(error: &rusqlite::Error) -> DesktopError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DesktopError::Busy,
        Some(ErrorCode::OperationInterrupted) => DesktopError::Interrupted,
        _ => DesktopError::Unreadable(error.to_string()),
    }
}

/// The message with the token: rows `1`, of which each has a key `1` and a value `2`, whose field 1 is base64.
fn unified(text: &[u8]) -> Option<(SecretString, Option<i64>)> {
    let topic = base64(text)?;
    protobuf::fields(&topic).find_map(|(number, field)| {
        let Field::Bytes(row) = field else { return None };
        if number != 1 || protobuf::bytes(row, 1)?.as_slice() != SENTINEL {
            return None;
        }
        let value = protobuf::bytes(row, 2)?;
        token_of(&base64(&protobuf::bytes(&value, 1)?)?)
    })
}

/// `1` access token, `4` its end, of which `1` are seconds since the epoch.
fn token_of(message: &[u8]) -> Option<(SecretString, Option<i64>)> {
    let token = protobuf::bytes(message, 1)?;
    let token = std::str::from_utf8(&token).ok().filter(|token| !token.is_empty())?;
    let ends = protobuf::bytes(message, 4).and_then(|time| protobuf::number(&time, 1));
    Some((token.into(), ends.and_then(|ends| i64::try_from(ends).ok())))
}

fn base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    STANDARD.decode(text.trim_ascii()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests;
