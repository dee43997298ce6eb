//! Servers that belong together: a Cluster, and a primary with replicas that Sentinels watch.

#![allow(dead_code, reason = "each suite uses its part")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use redis::Value;
use tempfile::TempDir;

use crate::redis_server::{Flavour, RedisServer, free_port};
use crate::tls::Authority;

/// What the servers are.
enum Kind<'a> {
    Plain(Flavour),
    Tls(&'a Authority),
}

impl Kind<'_> {
    /// See [`RedisServer::at`].
    fn at(&self, port: u16, dir: TempDir, arguments: &[&str]) -> Option<RedisServer> {
        match self {
            Self::Plain(flavour) => RedisServer::at(*flavour, port, dir, arguments),
            Self::Tls(authority) => authority.at(port, dir, arguments),
        }
    }

    /// On any free port.
    fn start(&self, file: &str, arguments: &[&str]) -> RedisServer {
        let start = || {
            let dir = tempfile::tempdir().unwrap();
            if !file.is_empty() {
                std::fs::write(dir.path().join("server.conf"), file).unwrap();
            }
            self.at(free_port(), dir, arguments)
        };
        (0..20).find_map(|_| start()).expect("a server starts")
    }
}

/// Primaries of a cluster.
const PRIMARIES: usize = 3;

/// A cluster of three primaries, with a replica of each or without. Its servers end with this value.
pub(crate) struct Cluster {
    nodes: Vec<RedisServer>,
    dead: Option<usize>,
}

impl Cluster {
    /// Three primaries of `flavour`, which must know `--cluster-port` (Redis 7, Valkey).
    pub(crate) fn start(flavour: Flavour) -> Self {
        Self::with(&Kind::Plain(flavour), PRIMARIES, &[])
    }

    /// The same over TLS.
    pub(crate) fn over_tls(authority: &Authority) -> Self {
        Self::with(&Kind::Tls(authority), PRIMARIES, &[])
    }

    /// Each of the three with a replica. A dead primary is replaced after two seconds.
    pub(crate) fn with_replicas(flavour: Flavour) -> Self {
        Self::with(
            &Kind::Plain(flavour),
            2 * PRIMARIES,
            &[&["--cluster-node-timeout", "2000"][..], &IN_STEP].concat(),
        )
    }

    fn with(kind: &Kind<'_>, nodes: usize, arguments: &[&str]) -> Self {
        // Free ports, those of the nodes' own bus among them, may be taken by another process before the servers have them.
        let cluster = (0..20)
            .find_map(|_| Self::boot(kind, nodes, arguments).filter(Self::agrees))
            .expect("a cluster starts");
        wait_until("the replicas are in step", || {
            cluster.nodes[PRIMARIES..].iter().all(|one| follows(one, ""))
        });
        cluster
    }

    /// Lets the first three take over; whether all nodes know of it before long.
    fn agrees(&self) -> bool {
        let primaries = &self.nodes[..PRIMARIES];
        for node in primaries {
            let () =
                redis::cmd("CLUSTER").arg("FAILOVER").arg("TAKEOVER").query(&mut node.connect()).unwrap();
        }
        let expected: Vec<_> = primaries.iter().map(RedisServer::port).collect();
        let agree = || self.nodes.iter().all(|node| owners(node).is_some_and(|owners| owners == expected));
        let agreed = before_long(agree, Duration::from_secs(10));
        if !agreed {
            for node in &self.nodes {
                let told: String =
                    redis::cmd("CLUSTER").arg("NODES").query(&mut node.connect()).unwrap_or_default();
                println!("a node at {} that does not agree knows\n{told}", node.address());
            }
        }
        agreed
    }

    /// Starts the nodes with a common idea of the cluster: all are replicas, of primaries that do not exist, and have
    /// to take over. A new primary would not accept anything for two seconds.
    fn boot(kind: &Kind<'_>, count: usize, arguments: &[&str]) -> Option<Self> {
        let held: Vec<_> = (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<_> = held.iter().map(|port| port.local_addr().unwrap().port()).collect();
        drop(held);
        let (ports, buses) = ports.split_at(count);
        let mut nodes = Vec::new();
        for own in 0..count {
            let dir = tempfile::tempdir().unwrap();
            let mut text = String::new();
            let id = |letter, number| id(letter, ports[0], number);
            for (at, slots) in ["0-5460", "5461-10922", "10923-16383"].iter().enumerate() {
                writeln!(text, "{} 127.0.0.1:1@2 master - 0 0 {at} connected {slots}", id('a', at)).unwrap();
            }
            for at in 0..count {
                let (port, bus, master) = (ports[at], buses[at], id('a', at % PRIMARIES));
                let myself = if at == own { "myself," } else { "" };
                writeln!(
                    text,
                    "{} 127.0.0.1:{port}@{bus} {myself}slave {master} 0 0 0 connected",
                    id('b', at)
                )
                .unwrap();
            }
            writeln!(text, "vars currentEpoch 3 lastVoteEpoch 0").unwrap();
            std::fs::write(dir.path().join("nodes.conf"), text).unwrap();
            let bus = buses[own].to_string();
            let own_arguments = ["--save", "", "--cluster-enabled", "yes", "--cluster-port", &bus];
            nodes.push(kind.at(ports[own], dir, &[&own_arguments, arguments].concat())?);
        }
        Some(Self { nodes, dead: None })
    }

    /// `redis+cluster://…` with all nodes.
    pub(crate) fn url(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().map(RedisServer::address).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }

    /// Its nodes; at first the primaries are the first three.
    pub(crate) fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// Which node owns the slot of `key`, by its own word: the others hear a moment later that it moved.
    pub(crate) fn owner(&self, key: &str) -> usize {
        let owns = |&at: &usize| self.owner_by(&self.nodes[at], key) == Some(at);
        (0..self.nodes.len()).find(owns).expect("a node owns it")
    }

    fn owner_by(&self, told: &RedisServer, key: &str) -> Option<usize> {
        let mut connection = redis::Client::open(told.socket_url()).unwrap().get_connection().ok()?;
        let slot: i64 = redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query(&mut connection).ok()?;
        let port = rows(&mut connection)?.into_iter().find(|row| (row.0..=row.1).contains(&slot))?.2;
        self.nodes.iter().position(|node| node.port() == port)
    }

    /// The node that owns the slot of `key`.
    pub(crate) fn node_of(&self, key: &str) -> &RedisServer {
        &self.nodes[self.owner(key)]
    }

    /// Ends the owner of the slot of `key` without a word.
    pub(crate) fn kill_owner(&mut self, key: &str) {
        let owner = self.owner(key);
        self.nodes[owner].kill();
        self.dead = Some(owner);
    }

    /// Waits until all nodes know another owner of the slot of `key` than the one that was killed.
    pub(crate) fn wait_for_failover(&self, key: &str) {
        wait_until("a replica takes over", || {
            let living = self.nodes.iter().enumerate().filter(|(at, _)| Some(*at) != self.dead);
            let mut owners = living.map(|(_, node)| self.owner_by(node, key));
            owners.all(|owner| owner.is_some() && owner != self.dead)
        });
    }

    /// Moves the slot of `key` with all that is in it to another primary.
    pub(crate) fn migrate(&self, key: &str) {
        let begun = self.begin_migration(key);
        // What is written meanwhile has to go along.
        while begun.send_some() {}
        begun.end();
    }

    /// Begins to move the slot of `key` to another primary.
    pub(crate) fn begin_migration(&self, key: &str) -> Migration<'_> {
        let from = self.owner(key);
        let slot =
            redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query(&mut self.nodes[from].connect()).unwrap();
        let migration = Migration { from: &self.nodes[from], to: &self.nodes[(from + 1) % PRIMARIES], slot };
        migration.assign(migration.to, "IMPORTING", migration.from);
        migration.assign(migration.from, "MIGRATING", migration.to);
        migration
    }
}

/// A slot on its way.
pub(crate) struct Migration<'a> {
    from: &'a RedisServer,
    to: &'a RedisServer,
    slot: u16,
}

impl Migration<'_> {
    fn assign(&self, told: &RedisServer, state: &str, node: &RedisServer) {
        let id: String = redis::cmd("CLUSTER").arg("MYID").query(&mut node.connect()).unwrap();
        let mut set = redis::cmd("CLUSTER");
        let () = set.arg("SETSLOT").arg(self.slot).arg(state).arg(id).query(&mut told.connect()).unwrap();
    }

    /// Moves these keys.
    pub(crate) fn send(&self, keys: &[impl AsRef<str>]) {
        let mut migrate = redis::cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(self.to.port()).arg("").arg(0).arg(5000).arg("KEYS");
        for key in keys {
            migrate.arg(key.as_ref());
        }
        let _moved: Value = migrate.query(&mut self.from.connect()).unwrap();
    }

    /// Moves some of the keys that are left; false when there was none.
    fn send_some(&self) -> bool {
        let mut list = redis::cmd("CLUSTER");
        list.arg("GETKEYSINSLOT").arg(self.slot).arg(100);
        let keys: Vec<String> = list.query(&mut self.from.connect()).unwrap();
        if !keys.is_empty() {
            self.send(&keys);
        }
        !keys.is_empty()
    }

    /// The new primary owns the slot.
    pub(crate) fn end(self) {
        self.assign(self.to, "NODE", self.to);
        self.assign(self.from, "NODE", self.to);
    }
}

/// A node's id, 40 hexadecimal digits: another one in each cluster, so that a node which has the port of one that is gone
/// is not taken for it.
fn id(letter: char, cluster: u16, number: usize) -> String {
    format!("{}{cluster:04x}{number}", letter.to_string().repeat(35))
}

/// First slot, last slot and primary's port, as a node sees them.
fn rows(connection: &mut redis::Connection) -> Option<Vec<(i64, i64, u16)>> {
    let rows: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query(connection).ok()?;
    let row = |row: &Vec<Value>| {
        let node: Vec<Value> = redis::from_redis_value_ref(row.get(2)?).ok()?;
        let number = |value: &Value| redis::from_redis_value_ref::<i64>(value).ok();
        Some((number(row.first()?)?, number(row.get(1)?)?, u16::try_from(number(node.get(1)?)?).ok()?))
    };
    rows.iter().map(row).collect()
}

/// The primaries' ports in the order of their slots; none while the node is not content with the cluster.
fn owners(node: &RedisServer) -> Option<Vec<u16>> {
    let mut connection = node.connect();
    let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connection).ok()?;
    let mut rows = rows(&mut connection).filter(|_| info.contains("cluster_state:ok"))?;
    rows.sort_unstable();
    Some(rows.into_iter().map(|row| row.2).collect())
}

/// Whether a replica has all that its primary has.
fn follows(node: &RedisServer, password: &str) -> bool {
    let mut connection = connect(node, password);
    let info: String = redis::cmd("INFO").arg("replication").query(&mut connection).unwrap();
    info.contains("role:slave") && info.contains("master_link_status:up")
}

/// A replica that is told to fill itself from a file follows from the moment its link is up; one that is sent the data
/// directly, only after a second.
const IN_STEP: [&str; 2] = ["--repl-diskless-sync", "no"];

/// What the Sentinels call the primary.
pub(crate) const PRIMARY: &str = "pool-primary";

/// A primary, two replicas, and three Sentinels that replace it a second after its death. All end with this value.
pub(crate) struct Watched {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    /// The Sentinels'; empty when they want none.
    password: String,
}

impl Watched {
    pub(crate) fn start() -> Self {
        Self::locked("", "")
    }

    /// The same over TLS.
    pub(crate) fn over_tls(authority: &Authority) -> Self {
        Self::with(&Kind::Tls(authority), "", "")
    }

    /// With a password of the servers and one of the Sentinels; an empty one is none.
    pub(crate) fn locked(servers: &str, sentinels: &str) -> Self {
        Self::with(&Kind::Plain(Flavour::Redis7), servers, sentinels)
    }

    fn with(kind: &Kind<'_>, servers: &str, sentinels: &str) -> Self {
        let mut own = [&["--save", "", "--appendonly", "no"][..], &IN_STEP].concat();
        let mut settings = format!(
            "sentinel down-after-milliseconds {PRIMARY} 1000\nsentinel failover-timeout {PRIMARY} 5000\n"
        );
        if !servers.is_empty() {
            own.extend(["--requirepass", servers, "--masterauth", servers]);
            writeln!(settings, "sentinel auth-pass {PRIMARY} {servers}").unwrap();
        }
        if !sentinels.is_empty() {
            writeln!(settings, "requirepass {sentinels}").unwrap();
        }
        let primary = kind.start("", &own);
        let port = primary.port().to_string();
        let follow = [&own[..], &["--replicaof", "127.0.0.1", &port]].concat();
        let replicas = [(); 2].map(|()| kind.start("", &follow));
        wait_until("the replicas are in step", || replicas.iter().all(|one| follows(one, servers)));
        let file = format!("sentinel monitor {PRIMARY} 127.0.0.1 {port} 2\n{settings}");
        let watching: Vec<_> = (0..3).map(|_| kind.start(&file, &["--sentinel"])).collect();
        let servers = std::iter::once(primary).chain(replicas).collect();
        let watched = Self { servers, sentinels: watching, password: sentinels.to_owned() };
        wait_until("the Sentinels know each other", || {
            watched.sentinels.iter().all(|sentinel| {
                let said = watched.said_by(sentinel);
                let fact = |name: &str| said.get(name).map(String::as_str);
                (fact("num-slaves"), fact("num-other-sentinels"), fact("flags"))
                    == (Some("2"), Some("2"), Some("master"))
            })
        });
        watched
    }

    /// What a Sentinel says of the primary.
    fn said_by(&self, sentinel: &RedisServer) -> HashMap<String, String> {
        let mut connection = connect(sentinel, &self.password);
        redis::cmd("SENTINEL").arg("MASTER").arg(PRIMARY).query(&mut connection).unwrap()
    }

    /// `redis+sentinel://…/pool-primary`.
    pub(crate) fn url(&self) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(RedisServer::address).collect();
        format!("redis+sentinel://{}/{PRIMARY}", sentinels.join(","))
    }

    /// The servers; at first the first one is the primary.
    pub(crate) fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The primary by the word of the first Sentinel.
    pub(crate) fn primary(&self) -> &RedisServer {
        let port = self.said_by(&self.sentinels[0])["port"].clone();
        self.servers.iter().find(|server| server.port().to_string() == port).expect("it is one of them")
    }

    /// Ends the first primary without a word.
    pub(crate) fn kill_primary(&mut self) {
        self.servers[0].kill();
    }

    /// Starts the first primary again, after [`Self::kill_primary`].
    pub(crate) fn restart_primary(&mut self) {
        self.servers[0].restart();
    }

    /// Waits until all Sentinels name another primary than the first.
    pub(crate) fn wait_for_failover(&self) {
        let old = self.servers[0].port().to_string();
        wait_until("the Sentinels agree on a new primary", || {
            self.sentinels.iter().all(|sentinel| self.said_by(sentinel)["port"] != old)
        });
    }
}

fn connect(server: &RedisServer, password: &str) -> redis::Connection {
    let mut connection = server.connect();
    if !password.is_empty() {
        let () = redis::cmd("AUTH").arg(password).query(&mut connection).unwrap();
    }
    connection
}

fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    assert!(before_long(holds, Duration::from_secs(40)), "not in time: {what}");
}

/// Whether it holds within about this time.
fn before_long(mut holds: impl FnMut() -> bool, time: Duration) -> bool {
    const PAUSE: Duration = Duration::from_millis(20);
    (0..time.as_millis() / PAUSE.as_millis()).any(|_| {
        let held = holds();
        if !held {
            std::thread::sleep(PAUSE);
        }
        held
    })
}
