//! Servers of a test's own: on free ports of loopback, in temporary
//! directories, gone with the value.
#![allow(dead_code, reason = "each test program uses a part")]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyqueue_redis::redis;

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether there is a program to start; in CI its absence is a failure.
pub(crate) fn missing() -> Option<String> {
    let found = Command::new("redis-server")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    (found.is_err() && !in_ci).then(|| "NOT RUN: there is no redis-server to start".to_owned())
}

/// A running server that can be killed and started again on its data.
pub(crate) struct Server {
    pub(crate) port: u16,
    directory: tempfile::TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// A port that nobody listens on, nor on the one of a Cluster's bus above it.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

impl Server {
    /// A server that has on disk what it acknowledges, with these settings.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut server = Self {
            port: free_port(),
            directory: tempfile::tempdir().expect("a temporary directory"),
            arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
            child: None,
        };
        server.run();
        server
    }

    /// Starts it again, on the same port and data.
    pub(crate) fn run(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .expect("a log");
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--dir".as_ref(), self.directory.path().as_os_str()])
            .args(["--port", &self.port.to_string()])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server starts"));
        let begun = Instant::now();
        while !self.answers() {
            assert!(begun.elapsed() < PATIENCE, "the server does not answer");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn answers(&self) -> bool {
        // With TLS alone, a connection must do.
        if self.arguments.iter().any(|text| text == "--tls-port") {
            return TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        }
        let ping = redis::Client::open(self.url()).and_then(|client| {
            let mut connection = client.get_connection_with_timeout(Duration::from_secs(1))?;
            redis::cmd("PING").exec(&mut connection)
        });
        match ping {
            Ok(()) => true,
            // It wants a password: it is there.
            Err(error) => error.code() == Some("NOAUTH"),
        }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is killed");
            child.wait().expect("it has ended");
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Makes a command by a connection of its own.
    pub(crate) fn command(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_connection().expect("a connection");
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).expect("an answer")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Cluster of three nodes, each with a third of the slots.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let settings = ["--cluster-enabled", "yes", "--appendfsync", "no"];
        let nodes: Vec<_> = (0..3).map(|_| Server::start(&settings)).collect();
        for (node, slots) in nodes
            .iter()
            .zip([(0, 5_460), (5_461, 10_922), (10_923, 16_383)])
        {
            let (first, last) = (slots.0.to_string(), slots.1.to_string());
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]);
        }
        let cluster = Self { nodes };
        let begun = Instant::now();
        while !cluster.is_ok() {
            assert!(begun.elapsed() < PATIENCE, "the Cluster does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        cluster
    }

    fn is_ok(&self) -> bool {
        self.nodes.iter().all(|node| {
            let info = node.command(&["CLUSTER", "INFO"]);
            let info: String = redis::from_redis_value(info).expect("a text");
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
    }

    pub(crate) fn url(&self) -> String {
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect();
        format!("redis-cluster://{}", nodes.join(","))
    }
}
