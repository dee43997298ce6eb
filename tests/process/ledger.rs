//! What the pool's records in Redis say, read past the gateway.

use std::collections::{BTreeMap, BTreeSet};

use antigravity_proxy::store::keys::Keys;
use redis::Connection;

use crate::redis_server::RedisServer;

/// A reader of one pool's records.
pub(crate) struct Ledger {
    connection: Connection,
    prefix: String,
}

/// What a key holds: its expiry (ms since the epoch, -1 none) and its text, fields or members with their values.
pub(crate) type Content = (i64, BTreeSet<Vec<Vec<u8>>>);

/// Leases and accounts at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Redis's clock, ms since the epoch.
    pub(crate) now_ms: i64,
    /// End of each lease by its id, `<request>-<attempt>`.
    pub(crate) ends: BTreeMap<String, i64>,
    accounts: BTreeMap<String, Account>,
}

#[derive(Debug)]
struct Account {
    /// Enabled and valid: 0.
    state: u8,
    /// Requests in flight by the account's own count, and by its leases.
    in_flight: (usize, usize),
    cooling_until: i64,
}

impl Ledger {
    /// The records of the pool `main`.
    pub(crate) fn new(server: &RedisServer) -> Self {
        Self { connection: server.connect(), prefix: Keys::new("main").unwrap().prefix().to_owned() }
    }

    /// The connection, for a test's own questions.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// A key of the pool.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Time, leases and accounts, read as one step.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        type Read = ((i64, i64), Vec<(String, i64)>, BTreeMap<String, Vec<u8>>);
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("TIME").cmd("ZRANGE").arg(self.key("leases")).arg(0).arg(-1).arg("WITHSCORES");
        pipe.cmd("HGETALL").arg(self.key("hot"));
        let ((seconds, micros), members, hot): Read = pipe.query(&mut self.connection).unwrap();
        // The member that marks a counted key is no lease.
        let members: Vec<_> = members.into_iter().filter(|(member, _)| member != "#").collect();
        let account = |(id, record): (&String, &Vec<u8>)| {
            assert_eq!((record[0] / 32, record.len()), (2, 121), "the layout of `lib/hot.lua`");
            #[expect(clippy::cast_possible_truncation, reason = "whole numbers")]
            let field =
                |at: usize| f64::from_le_bytes(record[1 + 8 * at..9 + 8 * at].try_into().unwrap()) as i64;
            let held = members.iter().filter(|(member, _)| member.split('/').next() == Some(id)).count();
            Account {
                state: record[0] % 32,
                in_flight: (usize::try_from(field(1)).unwrap(), held),
                cooling_until: field(2),
            }
        };
        let accounts = hot.iter().map(|entry| (entry.0.clone(), account(entry))).collect();
        let lease = |(member, end): &(String, i64)| (member.split_once('/').unwrap().1.to_owned(), *end);
        Snapshot {
            now_ms: seconds * 1000 + micros / 1000,
            ends: members.iter().map(lease).collect(),
            accounts,
        }
    }

    /// Requests that the usage counters of all hours know of.
    pub(crate) fn counted_requests(&mut self) -> u64 {
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(self.key("usage:*")).query(&mut self.connection).unwrap();
        let count = |key: &String| -> u64 {
            let rows: Vec<String> = redis::cmd("HVALS").arg(key).query(&mut self.connection).unwrap();
            rows.iter().map(|row| row.split('|').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        keys.iter().map(count).sum()
    }

    /// Every key of the database but streams, which no export holds.
    pub(crate) fn contents(&mut self) -> BTreeMap<String, Content> {
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut self.connection).unwrap();
        let read = |key: String| {
            let (kind, expiry): (String, i64) = redis::pipe()
                .cmd("TYPE")
                .arg(&key)
                .cmd("PEXPIRETIME")
                .arg(&key)
                .query(&mut self.connection)
                .unwrap();
            let mut command = match kind.as_str() {
                "string" => redis::cmd("GET"),
                "hash" => redis::cmd("HGETALL"),
                "zset" => redis::cmd("ZRANGE"),
                "stream" => return None,
                other => panic!("{key} is a {other}"),
            };
            command.arg(&key);
            if kind == "zset" {
                command.arg(0).arg(-1).arg("WITHSCORES");
            }
            let flat: Vec<Vec<u8>> = if kind == "string" {
                vec![command.query(&mut self.connection).unwrap()]
            } else {
                command.query(&mut self.connection).unwrap()
            };
            let entries = flat.chunks(2).map(<[_]>::to_vec).collect();
            Some((key, (expiry, entries)))
        };
        keys.into_iter().filter_map(read).collect()
    }
}

impl Snapshot {
    /// The leases of these requests.
    pub(crate) fn held_by<'a>(
        &'a self,
        requests: &'a BTreeSet<String>,
    ) -> impl Iterator<Item = (&'a str, i64)> {
        let own = |lease: &str| requests.contains(request(lease));
        self.ends.iter().filter(move |(lease, _)| own(lease)).map(|(lease, end)| (lease.as_str(), *end))
    }

    /// Every account's own count is the number of its leases.
    pub(crate) fn assert_counts(&self) {
        for (id, account) in &self.accounts {
            let (counted, held) = account.in_flight;
            assert_eq!(counted, held, "in flight on {id} by its count, and by its leases: {self:?}");
        }
    }

    /// No account is kept from requests by anything: switched off, invalid, cooling or counted as busy.
    pub(crate) fn assert_free(&self) {
        assert!(!self.accounts.is_empty());
        for (id, account) in &self.accounts {
            let cools = account.cooling_until > self.now_ms;
            let free = (account.state, account.in_flight, cools) == (0, (0, 0), false);
            assert!(free, "{id} is blocked: {account:?}");
        }
    }
}

/// The request that a lease belongs to.
pub(crate) fn request(lease: &str) -> &str {
    lease.rsplit_once('-').map_or(lease, |(request, _attempt)| request)
}
