//! A streamed answer, read piece by piece.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, SOON};
use crate::http;

/// A stream that is being read.
pub(crate) struct Stream {
    connection: TcpStream,
    raw: Vec<u8>,
}

impl Stream {
    /// Asks, and returns when the first piece of text has come.
    pub(crate) async fn open(gateway: &Gateway, text: &str) -> Self {
        let body = http::message(text, true).to_string();
        let headers = [("content-type", "application/json")];
        let request =
            http::request("POST", &format!("{}/v1/messages", gateway.url), &headers, body.as_bytes());
        let mut connection = TcpStream::connect(http::split(&gateway.url).0).await.unwrap();
        connection.write_all(&request).await.unwrap();
        let mut stream = Self { connection, raw: Vec::new() };
        while !stream.has("text_delta") {
            assert!(stream.more().await, "{}", stream.text());
        }
        stream
    }

    /// The id that the answer carries in `request-id`.
    pub(crate) fn id(&self) -> String {
        let text = self.text();
        let id = text.lines().find_map(|line| line.strip_prefix("request-id: "));
        id.unwrap_or_else(|| panic!("no request-id in {text}")).trim().to_owned()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    fn has(&self, part: &str) -> bool {
        self.text().contains(part)
    }

    /// Reads on; false at the end.
    async fn more(&mut self) -> bool {
        let mut piece = [0; 4096];
        let read = tokio::time::timeout(SOON, self.connection.read(&mut piece)).await.expect("it goes on");
        let read = read.unwrap_or(0);
        self.raw.extend_from_slice(&piece[..read]);
        read > 0
    }

    /// Everything that was sent, up to the end of the connection.
    pub(crate) async fn read_out(mut self) -> String {
        while self.more().await {}
        self.text()
    }
}
