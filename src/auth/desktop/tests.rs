use std::time::Instant;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::*;

/// A database as the application has it: WAL, one row per key.
struct Desktop {
    dir: TempDir,
    own: Connection,
}

impl Desktop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = Connection::open(dir.path().join("state.vscdb")).unwrap();
        own.pragma_update(None, "journal_mode", "WAL").unwrap();
        own.execute("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)", []).unwrap();
        Self { dir, own }
    }

    fn put(&self, key: &str, value: &str) {
        self.own.execute("INSERT INTO ItemTable (key, value) VALUES (?1, ?2)", [key, value]).unwrap();
    }

    fn read(&self) -> Result<SignedIn, DesktopError> {
        read(&self.dir.path().join("state.vscdb"))
    }
}

/// A field of bytes, shorter than 128.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn token(text: &str, ends_s: u64) -> Vec<u8> {
    let mut time = vec![0x08];
    let mut rest = ends_s;
    while rest >= 0x80 {
        time.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    time.push(u8::try_from(rest).unwrap());
    [field(1, text.as_bytes()), field(2, b"Bearer"), field(3, b"1//r"), field(4, &time)].concat()
}

fn unified_state(text: &str, ends_s: u64) -> String {
    let value = field(1, STANDARD.encode(token(text, ends_s)).as_bytes());
    let other = field(1, &[field(1, b"otherSentinelKey"), field(2, b"")].concat());
    let row = [field(1, SENTINEL), long(2, &value)].concat();
    STANDARD.encode([other, long(1, &row)].concat())
}

/// A field of bytes of any length below 16,384.
fn long(number: u8, bytes: &[u8]) -> Vec<u8> {
    let low = u8::try_from(bytes.len() & 0x7f).unwrap() | 0x80;
    let high = u8::try_from(bytes.len() >> 7).unwrap();
    [&[number << 3 | 2, low, high], bytes].concat()
}

#[test]
fn each_layout_gives_its_token_and_the_newest_counts() {
    let desktop = Desktop::new();
    assert_eq!(desktop.read().unwrap_err(), DesktopError::SignedOut);
    desktop.put(STATUS, r#"{"name":"User"}"#);
    assert_eq!(desktop.read().unwrap_err(), DesktopError::NoToken);
    desktop.put(STATUS, r#"{"apiKey":"ya29.json","email":" User@Example.com ","name":"User"}"#);
    let found = desktop.read().unwrap();
    assert_eq!((found.token.expose_secret(), found.ends_s), ("ya29.json", None));
    assert_eq!(found.email.as_deref(), Some("user@example.com"));
    desktop.put(AGENT, &STANDARD.encode(long(6, &token("ya29.agent", 1_800_000_000))));
    let found = desktop.read().unwrap();
    assert_eq!((found.token.expose_secret(), found.ends_s), ("ya29.agent", Some(1_800_000_000)));
    desktop.put(UNIFIED, &unified_state("ya29.unified", 1_800_000_001));
    let found = desktop.read().unwrap();
    assert_eq!((found.token.expose_secret(), found.ends_s), ("ya29.unified", Some(1_800_000_001)));
    assert_eq!(found.email.as_deref(), Some("user@example.com"));
    for broken in ["", "no base64!", "AAAA", "CgA="] {
        desktop.put(UNIFIED, broken);
        assert_eq!(desktop.read().unwrap().token.expose_secret(), "ya29.agent", "{broken:?}");
    }
}

#[test]
fn it_is_read_while_the_application_writes() {
    let desktop = Desktop::new();
    desktop.put(STATUS, r#"{"apiKey":"old","email":"a@b"}"#);
    // Not in the main file yet, and a write under way.
    desktop.own.execute_batch("BEGIN IMMEDIATE").unwrap();
    desktop.put(STATUS, r#"{"apiKey":"new","email":"a@b"}"#);
    assert_eq!(desktop.read().unwrap().token.expose_secret(), "old");
    desktop.own.execute_batch("COMMIT").unwrap();
    assert_eq!(desktop.read().unwrap().token.expose_secret(), "new", "out of the log");
    let log = std::fs::metadata(desktop.dir.path().join("state.vscdb-wal")).unwrap();
    assert!(log.len() > 0, "nothing was written by reading, not even a checkpoint");
}

#[test]
fn a_locked_database_is_waited_for_and_then_given_up() {
    let desktop = Desktop::new();
    desktop.put(STATUS, r#"{"apiKey":"k"}"#);
    desktop.own.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    desktop.own.execute_batch("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE").unwrap();
    let begun = now();
    assert_eq!(desktop.read().unwrap_err(), DesktopError::Busy);
    assert!(begun.elapsed() >= BUSY);
}

#[expect(clippy::disallowed_methods, reason = "how long SQLite waits is real time")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn what_is_no_such_database_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.vscdb");
    let error = read(&path).unwrap_err();
    assert_eq!(error, DesktopError::NotFound { path: path.clone() });
    assert!(error.to_string().contains("Make sure Antigravity is installed"));
    assert!(!path.exists(), "it is not created");
    std::fs::write(&path, "this is no database, however long the text may be").unwrap();
    assert!(matches!(read(&path).unwrap_err(), DesktopError::Unreadable(_)));
    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE Other (a)").unwrap();
    assert!(matches!(read(&path).unwrap_err(), DesktopError::Unreadable(text) if text.contains("ItemTable")));
}

/// A file of somebody else's making.
fn hostile(schema: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.vscdb");
    Connection::open(&path).unwrap().execute_batch(schema).unwrap();
    (dir, path)
}

#[test]
fn nothing_that_the_file_brings_along_is_run() {
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
    for schema in [
        format!("CREATE VIEW ItemTable AS {endless} SELECT 'k' || i AS key, 'v' AS value FROM n"),
        "CREATE VIEW ItemTable AS SELECT 'antigravityAuthStatus' AS key, zeroblob(900000000) AS value"
            .to_owned(),
        "CREATE TABLE ItemTable (key TEXT, value AS (zeroblob(900000000)));
         INSERT INTO ItemTable (key) VALUES ('antigravityAuthStatus')"
            .to_owned(),
        "CREATE TABLE ItemTable (key TEXT, value BLOB); PRAGMA writable_schema = ON;
         UPDATE sqlite_master SET sql = 'CREATE VIEW ItemTable AS SELECT ''k'' AS key, ''v'' AS value'"
            .to_owned(),
    ] {
        let (_dir, path) = hostile(&schema);
        let error = read(&path).unwrap_err();
        assert!(
            matches!(&error, DesktopError::Unreadable(text) if text.contains("ItemTable")),
            "{schema}: {error}"
        );
    }
}

#[test]
fn an_endless_query_is_given_up() {
    let (_dir, path) = hostile("CREATE TABLE ItemTable (key TEXT, value BLOB)");
    let connection = open(&path).unwrap();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let error = connection.query_row(endless, [], |row| row.get::<_, i64>(0)).unwrap_err();
    assert_eq!(fault(&error), DesktopError::Interrupted);
}

#[test]
fn what_is_too_big_or_nothing_leaves_the_other_layouts() {
    let desktop = Desktop::new();
    desktop.put(STATUS, r#"{"apiKey":"ya29.json"}"#);
    for (key, value) in [(UNIFIED, "NULL"), (UNIFIED, "zeroblob(900000)"), (AGENT, "zeroblob(20000000)")] {
        desktop.own.execute(&format!("INSERT INTO ItemTable VALUES (?1, {value})"), [key]).unwrap();
        assert_eq!(desktop.read().unwrap().token.expose_secret(), "ya29.json", "{key} {value}");
    }
    desktop.own.execute("INSERT INTO ItemTable VALUES (?1, NULL)", [STATUS]).unwrap();
    assert_eq!(desktop.read().unwrap_err(), DesktopError::SignedOut);
    desktop.put(UNIFIED, &unified_state("ya29.unified", 1_800_000_001));
    assert_eq!(desktop.read().unwrap().token.expose_secret(), "ya29.unified");
}

#[cfg(target_os = "linux")]
#[test]
fn pipes_are_not_waited_for() {
    let pipe = |path: &Path| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.vscdb");
    pipe(&path);
    assert!(matches!(read(&path).unwrap_err(), DesktopError::NotFound { .. }));
    for suffix in ["-wal", "-shm", "-journal"] {
        let desktop = Desktop::new();
        desktop.put(STATUS, r#"{"apiKey":"k"}"#);
        let Desktop { dir, own } = desktop;
        drop(own);
        let path = dir.path().join("state.vscdb");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        pipe(&dir.path().join(format!("state.vscdb{suffix}")));
        for path in [&path, &link] {
            let error = read(path).unwrap_err();
            assert!(matches!(&error, DesktopError::Unreadable(text) if text.contains(suffix)), "{error}");
        }
    }
}
