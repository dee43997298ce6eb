//! Starts on a Redis that is not there, not fit or not allowed, as a user sees them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::gateway::{Ended, Home, SOON, until};
use crate::http;
use crate::ledger::Ledger;
use crate::redis_server::{Flavour, RedisServer};
use crate::simulator::Simulator;
use crate::site::ENCRYPTION_KEY;
use crate::tls::Authority;
use crate::topology::{Cluster, Watched};

/// A password; nothing that is written may contain it.
const PASSWORD: &str = "marker-of-a-redis-password";

const UNAVAILABLE: i32 = 69;
const CONFIG: i32 = 78;

fn home(url: &str) -> Home {
    let home = Home::new().env("REDIS_URL", url).env("ENCRYPTION_KEYS", ENCRYPTION_KEY);
    home.file(&json!({"storeOutageGraceMs": 500}))
}

/// Ended with `code` and one sentence that has these parts; nothing was announced and nothing given away.
fn assert_refused(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{}", ended.err);
    for part in parts {
        assert!(ended.err.contains(part), "{part:?} is not in {:?}", ended.err);
    }
    // The log may stand above it.
    let said = ended.err.lines().filter(|line| !line.contains(" WARN ") && !line.contains(" INFO "));
    assert_eq!(said.count(), 1, "one sentence: {}", ended.err);
    assert_silent(&ended.err);
}

fn assert_silent(text: &str) {
    assert!(!text.contains(PASSWORD) && !text.contains(ENCRYPTION_KEY), "a secret: {text}");
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_redis_that_is_not_fit_is_refused_with_what_to_change() {
    let nothing = ["--save", "", "--appendonly", "no"];
    let primary = RedisServer::start();
    let locked = RedisServer::with(Flavour::Redis7, &["--requirepass", "another-password"]);
    let (host, port) = primary.address().split_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).unwrap();
    let replica =
        RedisServer::with(Flavour::Redis7, &[&nothing[..], &["--replicaof", &host, &port]].concat());
    let evicting = RedisServer::with(
        Flavour::Redis7,
        &[&nothing[..], &["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]].concat(),
    );
    let named =
        |server: &RedisServer, credentials: &str| format!("redis://{credentials}@{}", server.address());
    for (url, address, parts) in [
        (named(&locked, &format!(":{PASSWORD}")), locked.address(), ["credentials", "REDIS_PASSWORD"]),
        (named(&locked, &format!("nobody:{PASSWORD}")), locked.address(), ["credentials", "REDIS_URL"]),
        (locked.url(), locked.address(), ["credentials", "REDIS_PASSWORD"]),
        (replica.url(), replica.address(), ["read-only replica", "address of the primary"]),
        (evicting.url(), evicting.address(), ["allkeys-lru", "maxmemory-policy noeviction"]),
    ] {
        for command in [&["serve"][..], &["accounts", "list"]] {
            let ended = home(&url).run(command, b"").await;
            assert_refused(&ended, CONFIG, &[&parts[..], &[address.as_str()]].concat());
        }
    }
    // None of them holds anything of a pool.
    assert!(Ledger::new(&primary).contents().is_empty());
    assert!(Ledger::new(&evicting).contents().is_empty());
}

#[tokio::test]
async fn a_user_whose_access_rules_lack_something_is_told_what() {
    let password = format!(">{PASSWORD}");
    for flavour in Flavour::ALL {
        for (rules, part) in [
            (&["~*", "&*", "+@all", "-evalsha"][..], "evalsha"),
            (&["~*", "&*", "+@all", "-script"], "+script|load"),
            (&["~*", "&*", "+@all", "-hset"], "command"),
            (&["~*", "&*", "+@all", "-subscribe"], "+subscribe"),
            (&["~*", "resetchannels", "+@all"], "&agp:v1:{main}:ev"),
            (&["~agp:v1:{other}:*", "&*", "+@all"], "~agp:v1"),
        ] {
            let user = ["--save", "", "--user", "gateway", "on", &password];
            let redis = RedisServer::with(flavour, &[&user[..], rules].concat());
            let url = format!("redis://gateway:{PASSWORD}@{}", redis.address());
            let ended = home(&url).run(&["serve"], b"").await;
            assert_refused(&ended, CONFIG, &["ACL", part, "docs/redis.md", &redis.address()]);
        }
    }
}

#[tokio::test]
async fn a_redis_that_comes_late_is_waited_for() {
    let mut redis = RedisServer::start();
    redis.kill();
    let home = Home::new().env("REDIS_URL", &redis.url()).env("ENCRYPTION_KEYS", ENCRYPTION_KEY);
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        redis.restart();
    };
    let (gateway, ()) = tokio::join!(home.start(), later);
    assert_eq!(http::get(&format!("{}/readyz", gateway.url)).await.status, 200);
    assert_eq!(http::get(&format!("{}/api/status", gateway.url)).await.json()["store"]["mode"], "redis");
}

#[tokio::test]
async fn a_redis_that_is_not_there_ends_the_start() {
    let address = free_address();
    let url = format!("redis://:{PASSWORD}@{address}");
    for command in [&["serve"][..], &["accounts", "list"], &["store", "export"]] {
        let ended = home(&url).run(command, b"").await;
        assert_refused(&ended, UNAVAILABLE, &["unavailable", &address]);
    }
    for url in [
        format!("redis+cluster://:{PASSWORD}@{address}"),
        format!("redis+sentinel://:{PASSWORD}@{address}/main?sentinel_pass={PASSWORD}"),
    ] {
        for command in [&["serve"][..], &["accounts", "list"]] {
            let ended = home(&url).run(command, b"").await;
            assert_refused(&ended, UNAVAILABLE, &["unavailable", &address]);
        }
    }
    let missing = home("redis+unix:///nowhere/redis.sock").run(&["serve"], b"").await;
    assert_refused(&missing, UNAVAILABLE, &["/nowhere/redis.sock"]);
    // A server that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let ended = home(&format!("redis://{address}")).run(&["serve"], b"").await;
    assert_refused(&ended, UNAVAILABLE, &["does not answer", &address]);
}

#[tokio::test]
async fn wrong_settings_of_redis_are_named() {
    let redis = RedisServer::start();
    for url in [
        format!("redis://:{PASSWORD}@"),
        format!("redis://:{PASSWORD}@cache:port"),
        format!("redis://:{PASSWORD}@cache/first"),
        format!("redis+cluster://:{PASSWORD}@one:7000,two:port"),
        format!("redis+cluster://:{PASSWORD}@one:7000/1"),
        format!("redis+sentinel://:{PASSWORD}@one:26379"),
        format!("redis+sentinel://one/main?password={PASSWORD}"),
        format!("http://:{PASSWORD}@cache"),
        PASSWORD.to_owned(),
    ] {
        for command in [&["serve"][..], &["config", "check"]] {
            let ended = home(&url).run(command, b"").await;
            assert_refused_setting(
                &ended,
                &["redis.url", "REDIS_URL", "redis+cluster://", "redis+sentinel://"],
            );
        }
    }
    let address = Home::new().env("REDIS_ADDR", "cache:port").run(&["serve"], b"").await;
    assert_refused_setting(&address, &["REDIS_ADDR", "cache:port", "host:port"]);
    let number = home(&redis.url()).env("REDIS_DB", "many").run(&["serve"], b"").await;
    assert_refused_setting(&number, &["REDIS_DB", "many"]);
    // Keys that only this machine has would leave every other replica without the accounts.
    let keyless = Home::new().env("REDIS_URL", &redis.url());
    for command in [&["serve"][..], &["accounts", "list"]] {
        let ended = keyless.run(command, b"").await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(CONFIG), ""), "{}", ended.err);
        assert!(ended.err.contains("ENCRYPTION_KEYS"), "{}", ended.err);
    }
    assert!(!keyless.data().join("encryption.key").exists());
}

fn assert_refused_setting(ended: &Ended, parts: &[&str]) {
    assert_eq!((ended.code, ended.out.as_str()), (Some(CONFIG), ""), "{}", ended.err);
    let line = ended.err.lines().find(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line.is_some(), "{parts:?} are not in one line of {}", ended.err);
    assert_silent(&ended.err);
}

/// Starts with these settings, serves a request, and ends; what was said anywhere.
async fn serve(home: &Home, simulator: &Simulator) -> String {
    let document = simulator.accounts.to_string();
    let mut said = home.succeed(&["accounts", "import", "-"], document.as_bytes()).await;
    let mut gateway = home.start().await;
    assert_eq!(gateway.ask("reply with exactly: fine").await.status, 200);
    for path in ["/health", "/api/status", "/api/accounts", "/api/logs", "/"] {
        said += &http::get(&format!("{}{path}", gateway.url)).await.text();
    }
    said += &http::get(&format!("{}/metrics", gateway.metrics_url)).await.text();
    let export = home.run(&["store", "export"], b"").await;
    said += &(export.out + &export.err);
    said += &home.succeed(&["config", "check"], b"").await;
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success(), "{}", gateway.log.text());
    said + &gateway.log.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_name_a_redis_works_and_keeps_its_password() {
    let simulator = Simulator::with_accounts(1).await;
    let redis = RedisServer::with(Flavour::Redis7, &["--requirepass", PASSWORD]);
    let all = || Home::with(&simulator).env("LOG_LEVEL", "trace").env("ENCRYPTION_KEYS", ENCRYPTION_KEY);
    let socket = redis.socket_url();
    let homes = [
        ("2", all().env("REDIS_URL", &format!("redis://:{PASSWORD}@{}/2", redis.address()))),
        ("3", all().env("REDIS_ADDR", &redis.address()).env("REDIS_PASSWORD", PASSWORD).env("REDIS_DB", "3")),
        ("4", all().env("REDIS_URL", &socket).env("REDIS_PASSWORD", PASSWORD).env("REDIS_DB", "4")),
        ("5", secret_file(all().env("REDIS_ADDR", &redis.address()).env("REDIS_DB", "5"))),
    ];
    for (db, home) in &homes {
        let said = serve(home, &simulator).await;
        assert_silent(&said);
        let shown = |name: &str| said.lines().any(|line| line.starts_with(name));
        assert!(shown("redis.url") && shown("redisPassword"), "config check shows them: {said}");
        let mut connection =
            redis::Client::open(socket.as_str()).unwrap().get_connection_with_timeout(SOON).unwrap();
        let () = redis::cmd("AUTH").arg(PASSWORD).query(&mut connection).unwrap();
        let () = redis::cmd("SELECT").arg(db).query(&mut connection).unwrap();
        let kept: bool = redis::cmd("EXISTS").arg("agp:v1:{main}:acct").query(&mut connection).unwrap();
        assert!(kept, "database {db} holds the pool");
    }
}

fn secret_file(home: Home) -> Home {
    let path = home.path().join("redis-password");
    std::fs::write(&path, format!("{PASSWORD}\n")).unwrap();
    let path = path.display().to_string();
    home.env("REDIS_PASSWORD_FILE", &path)
}

/// Gives `server` the user that `docs/redis.md` recommends.
fn add_documented_user(server: &RedisServer) {
    let mut rule = redis::cmd("ACL");
    rule.arg("SETUSER").arg("gateway");
    for word in documented_rule() {
        // Where the page has a placeholder for the password.
        rule.arg(if word.starts_with('>') { format!(">{PASSWORD}") } else { word });
    }
    let () = rule.query(&mut server.connect()).unwrap();
}

/// The command that `docs/redis.md` recommends, without its line breaks.
fn documented_rule() -> Vec<String> {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/redis.md");
    let page = std::fs::read_to_string(Path::new(&page)).unwrap();
    let (_, rule) = page.split_once("ACL SETUSER gateway").expect("the page shows the rule");
    let (rule, _) = rule.split_once("```").expect("it stands in a block of its own");
    rule.replace('\\', " ").split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rules_of_access_suffice_and_no_more_is_granted() {
    let simulator = Simulator::with_accounts(2).await;
    for flavour in Flavour::ALL {
        let redis = RedisServer::with(flavour, &["--save", "", "--appendonly", "no"]);
        add_documented_user(&redis);
        let url = format!("redis://gateway:{PASSWORD}@{}", redis.address());
        let home = Home::with(&simulator)
            .env("REDIS_URL", &url)
            .env("ENCRYPTION_KEYS", ENCRYPTION_KEY)
            .file(&json!({"leaseTtlMs": 3000}));
        let said = serve(&home, &simulator).await;
        assert!(!said.contains("NOPERM") && !said.contains("cannot be checked"), "{flavour:?}: {said}");
        // Not even as the gateway can another program's keys be reached.
        let mut gateway = redis::Client::open(url).unwrap().get_connection().unwrap();
        for foreign in
            [vec!["GET", "of:another:program"], vec!["FLUSHALL"], vec!["CONFIG", "SET", "save", ""]]
        {
            let answer = redis::cmd(foreign[0]).arg(&foreign[1..]).query::<redis::Value>(&mut gateway);
            assert_eq!(answer.unwrap_err().code(), Some("NOPERM"), "{flavour:?}: {foreign:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_documented_rules_nothing_is_refused_and_connections_are_used_again() {
    let simulator = Simulator::with_accounts(1).await;
    for flavour in Flavour::ALL {
        let redis = RedisServer::with(flavour, &["--save", "", "--appendonly", "yes"]);
        add_documented_user(&redis);
        let url = format!("redis://gateway:{PASSWORD}@{}", redis.address());
        let home = Home::with(&simulator).env("REDIS_URL", &url).env("ENCRYPTION_KEYS", ENCRYPTION_KEY);
        serve(&home, &simulator).await;
        let gateway = home.start().await;
        let mut admin = redis.connect();
        let mut connections = || -> u64 {
            let stats: String = redis::cmd("INFO").arg("stats").query(&mut admin).unwrap();
            let made = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
            made.unwrap().trim().parse().unwrap()
        };
        let lines = format!("{}/api/logs?limit=1000", gateway.url);
        let served = async || {
            let page = http::get(&lines).await;
            assert_eq!(page.status, 200, "{}", page.text());
            let lines = page.json()["logs"].as_array().unwrap().clone();
            lines.iter().filter(|line| line["fields"]["outcome"] == "served").count()
        };
        let had = served().await;
        let before = connections();
        for number in 1..=10 {
            assert_eq!(gateway.ask("reply with exactly: fine").await.status, 200);
            until("the line is kept", async || served().await >= had + number).await;
        }
        let made = connections() - before;
        assert!(made <= 3, "{flavour:?}: {made} connections for ten requests and their lines");
        let refused: redis::Value = redis::cmd("ACL").arg("LOG").query(&mut redis.connect()).unwrap();
        assert_eq!(refused, redis::Value::Array(Vec::new()), "{flavour:?}");
    }
}

#[tokio::test]
async fn the_rules_of_an_earlier_page_are_refused_with_what_is_missing() {
    let redis = RedisServer::start();
    let words = documented_rule().into_iter().map(|word| match word.as_str() {
        "+xtrim" => "+xlen".to_owned(),
        _ if word.starts_with('>') => format!(">{PASSWORD}"),
        _ => word,
    });
    let mut rule = redis::cmd("ACL");
    rule.arg("SETUSER").arg("gateway").arg(words.collect::<Vec<_>>());
    let () = rule.query(&mut redis.connect()).unwrap();
    let url = format!("redis://gateway:{PASSWORD}@{}", redis.address());
    let ended = home(&url).run(&["serve"], b"").await;
    assert_refused(&ended, CONFIG, &["ACL", "grant it +xtrim on", "docs/redis.md", &redis.address()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rules_suffice_in_a_cluster_and_behind_sentinels() {
    let simulator = Simulator::with_accounts(2).await;
    let (cluster, watched) = (Cluster::start(Flavour::Redis7), Watched::start());
    for server in cluster.nodes().iter().chain(watched.servers()) {
        add_documented_user(server);
    }
    for url in [cluster.url(), watched.url()] {
        let home = Home::with(&simulator)
            .env("REDIS_URL", &url.replace("://", &format!("://gateway:{PASSWORD}@")))
            .env("ENCRYPTION_KEYS", ENCRYPTION_KEY)
            .file(&json!({"leaseTtlMs": 3000}));
        let said = serve(&home, &simulator).await;
        assert!(!said.contains("NOPERM") && !said.contains("cannot be checked"), "{said}");
        assert_silent(&said);
        // The commands find the pool where the gateway has it.
        let listed = home.succeed(&["accounts", "list"], b"").await;
        assert!(listed.contains("user2@example.com"), "{listed}");
        let export = home.succeed(&["store", "export"], b"").await;
        assert!(export.contains("agp:v1:{main}:cred"), "{export}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_with_a_private_certificate_is_served_over_tls() {
    let simulator = Simulator::with_accounts(1).await;
    let authority = Authority::new();
    let redis = authority.server(&["--user", "gateway", "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"]);
    let url = format!("rediss://gateway:{PASSWORD}@localhost:{}", redis.port());
    let home = Home::with(&simulator)
        .env("REDIS_URL", &url)
        .env("ENCRYPTION_KEYS", ENCRYPTION_KEY)
        .file(&json!({"storeOutageGraceMs": 500}));
    let stranger = home.run(&["serve"], b"").await;
    assert_refused(&stranger, UNAVAILABLE, &["certificate", &format!("localhost:{}", redis.port())]);
    let home = home.env("SSL_CERT_FILE", &authority.root().display().to_string());
    assert_silent(&serve(&home, &simulator).await);
}
