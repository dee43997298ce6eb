//! A throw-away certificate authority, and a Redis that shows its certificate.

#![allow(dead_code, reason = "each suite uses its part")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::redis_server::{Flavour, RedisServer, free_port};

/// An authority and one certificate of it, for this machine; gone with this value.
pub(crate) struct Authority {
    dir: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::naming("DNS:localhost,IP:127.0.0.1")
    }

    /// The same, its certificate for these names (as OpenSSL's `subjectAltName` has them).
    pub(crate) fn naming(names: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let root = [
            "req",
            "-x509",
            "-days",
            "2",
            "-subj",
            "/CN=test authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ];
        openssl(dir.path(), &[&root[..], &key].concat());
        let request = ["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
        openssl(dir.path(), &[&request[..], &key].concat());
        std::fs::write(dir.path().join("names"), format!("subjectAltName={names}\n")).unwrap();
        let sign =
            ["x509", "-req", "-days", "2", "-in", "server.csr", "-out", "server.pem", "-extfile", "names"];
        openssl(dir.path(), &[&sign[..], &["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]].concat());
        Self { dir }
    }

    /// The authority's own certificate (PEM).
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// What a server shows, and its key (PEM).
    pub(crate) fn identity(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("server.pem"), self.dir.path().join("server.key"))
    }

    /// A server that speaks TLS only, on the port of its address, with the arguments `more`.
    pub(crate) fn server(&self, more: &[&str]) -> RedisServer {
        let arguments = [&["--save", ""][..], more].concat();
        let start = || self.at(free_port(), tempfile::tempdir().unwrap(), &arguments);
        (0..20).find_map(|_| start()).expect("a Redis with TLS starts")
    }

    /// A site with this certificate: OpenSSL's own server, which tells about the connection.
    pub(crate) fn site(&self) -> Site {
        let arguments = ["s_server", "-accept", "127.0.0.1:0", "-www", "-alpn", "http/1.1"];
        let mut process = Command::new("openssl")
            .args(arguments)
            .args(["-cert", "server.pem", "-key", "server.key"])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed: make install-deps");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)).unwrap();
        // What else it prints is of no interest.
        std::thread::spawn(move || lines.for_each(drop));
        let (_, port) = address.rsplit_once(':').unwrap();
        Site { process, url: format!("https://localhost:{port}/") }
    }

    /// As [`RedisServer::at`], with TLS only, also among servers.
    pub(crate) fn at(&self, port: u16, dir: TempDir, more: &[&str]) -> Option<RedisServer> {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        let (certificate, key, root) = (file("server.pem"), file("server.key"), file("ca.pem"));
        let number = port.to_string();
        let own = ["--port", "0", "--tls-port", &number, "--tls-auth-clients", "no"];
        let among = ["--tls-cluster", "yes", "--tls-replication", "yes"];
        let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &root];
        RedisServer::at(Flavour::Redis7, port, dir, &[&own[..], &among, &files, more].concat())
    }
}

/// A server of its own; ends with this value.
pub(crate) struct Site {
    process: Child,
    /// Its address, by name.
    pub(crate) url: String,
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    let ended = command.args(arguments).current_dir(dir).stdin(Stdio::null()).output();
    let ended = ended.expect("openssl is installed: make install-deps");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
