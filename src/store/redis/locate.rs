//! Where the server is that holds a pool.
//!
//! One server is where its address says. In a cluster it is the primary that owns the pool's slot (all keys of a
//! pool have one), of which any node tells; behind Sentinels it is the primary that they agree on. Either can move
//! at any time: whoever loses it asks again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redis::{ConnectionInfo, RedisError, Value};

use super::access::Access;
use super::refusal::{self, Step, unavailable, unsuitable};
use super::{cluster, texts};
use crate::config::{RedisConfig, RedisEndpoint, RedisNode, SentinelEndpoint};
use crate::store::host::StoreError;

/// Finds a pool's server.
pub(in crate::store) struct Locator {
    route: Route,
    access: Access,
    /// Who is asked first next time: nobody's word is taken for ever.
    turn: AtomicUsize,
}

enum Route {
    /// Always there.
    Fixed(Found),
    /// With the owner of `slot`.
    Cluster {
        slot: u16,
        seeds: Vec<RedisNode>,
        /// What the nodes told of each other.
        known: Mutex<Vec<RedisNode>>,
    },
    /// With the Sentinels' primary.
    Sentinel(SentinelEndpoint),
}

/// A pool's server.
#[derive(Clone)]
pub(in crate::store) struct Found {
    /// `host:port` or the path of a socket.
    pub(in crate::store) address: Arc<str>,
    /// The same in the client's terms, with credentials.
    pub(in crate::store) server: ConnectionInfo,
    /// The same as a node; none of a socket.
    pub(super) node: Option<RedisNode>,
}

/// What servers are to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    Single,
    Cluster,
    Sentinel,
}

impl Locator {
    /// For the pool that has `key`, a key or channel.
    pub(in crate::store) fn new(config: &RedisConfig, key: &str) -> Result<Self, StoreError> {
        let address = config.endpoint.to_string();
        let wrong = |error: RedisError| unsuitable(&address, error.to_string());
        let access = Access::new(config).map_err(|error| unsuitable(&address, error.to_string()))?;
        let route = match &config.endpoint {
            RedisEndpoint::Tcp { host, port, .. } => {
                let node = RedisNode { host: host.clone(), port: *port };
                let server = access.server(&node).map_err(wrong)?;
                Route::Fixed(Found { address: address.as_str().into(), server, node: Some(node) })
            }
            RedisEndpoint::Unix(path) => {
                let server = access.socket(path).map_err(wrong)?;
                Route::Fixed(Found { address: address.as_str().into(), server, node: None })
            }
            RedisEndpoint::Cluster { .. } if config.db != 0 => {
                return Err(unsuitable(&address, "a cluster has only database 0; unset REDIS_DB"));
            }
            RedisEndpoint::Cluster { nodes, .. } => {
                Route::Cluster { slot: cluster::slot(key), seeds: nodes.clone(), known: Mutex::default() }
            }
            RedisEndpoint::Sentinel(endpoint) => Route::Sentinel(endpoint.clone()),
        };
        Ok(Self { route, access, turn: AtomicUsize::new(0) })
    }

    pub(super) fn topology(&self) -> Topology {
        match &self.route {
            Route::Fixed(_) => Topology::Single,
            Route::Cluster { .. } => Topology::Cluster,
            Route::Sentinel(_) => Topology::Sentinel,
        }
    }

    /// Whether the server can be elsewhere next time.
    pub(in crate::store) fn may_move(&self) -> bool {
        self.topology() != Topology::Single
    }

    /// The server that holds the pool. Where it may move, others are asked for it, `hint` first, and it has answered
    /// that it is a primary.
    pub(in crate::store) async fn locate(&self, hint: Option<RedisNode>) -> Result<Found, StoreError> {
        match &self.route {
            Route::Fixed(found) => Ok(found.clone()),
            // Rare, and large.
            Route::Cluster { .. } | Route::Sentinel(_) => Box::pin(self.search(hint)).await,
        }
    }

    async fn search(&self, hint: Option<RedisNode>) -> Result<Found, StoreError> {
        let (mut tried, mut away, mut unfit) = (HashSet::new(), None, None);
        for asked in self.asked(hint) {
            let outcome = match self.ask(&asked).await {
                Ok(node) if tried.insert(node.clone()) => self.verify(node).await,
                // Others have named it, and it was no good.
                Ok(_) => continue,
                Err(error) => {
                    if matches!(self.route, Route::Cluster { .. }) {
                        tried.insert(asked);
                    }
                    Err(error)
                }
            };
            match outcome {
                Ok(found) => return Ok(found),
                Err(error @ StoreError::Unsuitable { .. }) => unfit = unfit.or(Some(error)),
                Err(error) => away = Some(error),
            }
        }
        Err(unfit.or(away).unwrap_or_else(|| StoreError::Unavailable { reason: "no server is known".into() }))
    }

    /// Who is asked, in order.
    fn asked(&self, hint: Option<RedisNode>) -> Vec<RedisNode> {
        let mut all = match &self.route {
            Route::Fixed(_) => Vec::new(),
            Route::Cluster { seeds, known, .. } => {
                let known = known.lock().unwrap_or_else(PoisonError::into_inner);
                let more = known.iter().filter(|node| !seeds.contains(node));
                seeds.iter().chain(more).cloned().collect()
            }
            Route::Sentinel(endpoint) => endpoint.sentinels.clone(),
        };
        if !all.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % all.len();
            all.rotate_left(turn);
        }
        hint.into_iter().chain(all).collect()
    }

    /// Where the server is by the word of `asked`.
    async fn ask(&self, asked: &RedisNode) -> Result<RedisNode, StoreError> {
        match &self.route {
            Route::Fixed(_) => Ok(asked.clone()),
            Route::Cluster { slot, known, .. } => {
                let slots = self.slots(asked, *slot).await?;
                *known.lock().unwrap_or_else(PoisonError::into_inner) = slots.nodes;
                let nobody = || format!("the cluster of Redis at {asked} has no owner of slot {slot}");
                slots.owner.ok_or_else(|| StoreError::Unavailable { reason: nobody() })
            }
            Route::Sentinel(endpoint) => self.primary(asked, endpoint).await,
        }
    }

    async fn slots(&self, asked: &RedisNode, slot: u16) -> Result<cluster::Slots, StoreError> {
        let address = asked.to_string();
        let refused = |error: RedisError| refusal::refused(&address, &error, Step::Connect);
        let mut connection = self.connect(self.access.server(asked)).await.map_err(refused)?;
        match self.access.ask(&mut connection, &cluster::question()).await {
            Ok(answer) => Ok(cluster::read(answer, slot, asked)),
            Err(error) if error.code() == Some("ERR") => {
                Err(unsuitable(&address, "it is no node of a cluster; give its address as redis://"))
            }
            Err(error) => Err(refusal::refused(&address, &error, Step::Slots)),
        }
    }

    async fn primary(&self, asked: &RedisNode, endpoint: &SentinelEndpoint) -> Result<RedisNode, StoreError> {
        let address = asked.to_string();
        let name = &endpoint.primary;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let answer = async {
            let (first, second) = self.access.sentinel(asked, endpoint)?;
            let answer = self.question(first, &question).await;
            match (answer, second) {
                (Err(error), Some(second)) if refusal::is_of_credentials(&error) => {
                    self.question(second, &question).await
                }
                (answer, _) => answer,
            }
        };
        match answer.await {
            Ok(Value::Nil) => {
                Err(unsuitable(&address, format!("this Sentinel watches no primary called {name}")))
            }
            Ok(answer) => redis::from_redis_value::<(String, u16)>(answer)
                .map(|(host, port)| RedisNode { host, port })
                .map_err(|error| unavailable(&address, &error.into())),
            Err(error) if refusal::is_of_credentials(&error) => Err(unsuitable(
                &address,
                "this Sentinel refuses the credentials; add ?sentinel_user=…&sentinel_pass=… to REDIS_URL",
            )),
            Err(error) if refusal::may_not(&error) => {
                let rule = "this Sentinel's ACL lacks +sentinel|get-master-addr-by-name for this user";
                Err(unsuitable(&address, rule))
            }
            Err(error) if error.code() == Some("ERR") => {
                Err(unsuitable(&address, "it is no Sentinel; give its address as redis://"))
            }
            Err(error) => Err(unavailable(&address, &error)),
        }
    }

    async fn question(&self, server: ConnectionInfo, question: &redis::Cmd) -> Result<Value, RedisError> {
        let mut connection = self.access.connect(server).await?;
        self.access.ask(&mut connection, question).await
    }

    async fn connect(
        &self,
        server: Result<ConnectionInfo, RedisError>,
    ) -> Result<redis::aio::MultiplexedConnection, RedisError> {
        self.access.connect(server?).await
    }

    /// Whether `node` answers, as a primary.
    async fn verify(&self, node: RedisNode) -> Result<Found, StoreError> {
        let address = node.to_string();
        let refused = |error: RedisError| refusal::refused(&address, &error, Step::Connect);
        let server = self.access.server(&node).map_err(refused)?;
        let mut connection = self.access.connect(server.clone()).await.map_err(refused)?;
        // Which no access rule can forbid.
        let hello = self.access.ask(&mut connection, &redis::cmd("HELLO")).await.map_err(refused)?;
        match texts(hello).get("role").map(String::as_str) {
            Some("master") => Ok(Found { address: address.into(), server, node: Some(node) }),
            _ => Err(StoreError::Unavailable {
                reason: format!("Redis at {address} is to be the primary and is a replica yet"),
            }),
        }
    }
}
