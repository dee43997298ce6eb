//! A script host over a plain connection.

use std::sync::Mutex;
use std::thread;

use antigravity_proxy::store::host::{Arg, Call, Event, Reply, ScriptHost, StoreError};
use antigravity_proxy::store::keys::Key;
use futures_util::future::BoxFuture;
use redis::Connection;
use tokio::sync::broadcast;

use crate::server::{Server, reply};

/// Runs scripts with `EVAL`.
pub(crate) struct Plain {
    connection: Mutex<Connection>,
    events: broadcast::Sender<Event>,
}

impl Plain {
    pub(crate) fn new(server: &Server) -> Self {
        let (events, _) = broadcast::channel(1024);
        let sender = events.clone();
        let mut listening = server.connect();
        // Subscribed before the first script runs. The thread ends with the server.
        let (ready, subscribed) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut channels = listening.as_pubsub();
            channels.psubscribe("*").unwrap();
            ready.send(()).unwrap();
            while let Ok(message) = channels.get_message() {
                let channel = message.get_channel_name().to_owned();
                let payload = message.get_payload_bytes().to_vec().into();
                drop(sender.send(Event::Message { channel, payload }));
            }
        });
        subscribed.recv().unwrap();
        Self { connection: Mutex::new(server.connect()), events }
    }
}

impl ScriptHost for Plain {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        let mut connection = self.connection.lock().unwrap();
        let commands: Vec<u8> = batch
            .iter()
            .flat_map(|call| {
                let mut command = redis::cmd("EVAL");
                command.arg(call.script.source).arg(call.keys.len());
                let (keys, args) = (call.keys.iter().map(Key::as_bytes), call.args.iter().map(Arg::as_bytes));
                command.arg(keys.chain(args).collect::<Vec<_>>()).get_packed_command()
            })
            .collect();
        connection.send_packed_command(&commands).unwrap();
        let replies = batch.iter().map(|_| reply(connection.recv_response())).collect();
        drop(connection);
        Box::pin(std::future::ready(Ok(replies)))
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}
