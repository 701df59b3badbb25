//! [`Redis`], [`RedisCluster`].

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, Started, answers, directory, free_port, kill};

/// A Redis server of one's own. It has on disk what it acknowledges
/// (`appendfsync always`).
#[derive(Debug)]
pub struct Redis {
    port: u16,
    directory: tempfile::TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Why there is none to start, where there is none.
    pub fn missing() -> Option<String> {
        let found = Command::new("redis-server")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        found
            .is_err()
            .then(|| "there is no redis-server to start".to_owned())
    }

    /// Starts one with these arguments more, and returns when it answers.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn start(arguments: &[&str]) -> io::Result<Self> {
        let mut server = Self {
            port: free_port()?,
            directory: directory()?,
            arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
            child: None,
        };
        server.run().await?;
        Ok(server)
    }

    /// Starts it again, on the same port and data, and returns when it answers.
    ///
    /// # Errors
    /// Where it cannot be started, ends, or does not answer within two minutes.
    pub async fn run(&mut self) -> io::Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))?;
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
        self.child = Some(child?);
        // An answer, not an error such as LOADING; but one that asks for a
        // password will do.
        let mut hello = b"PING\r\n".as_slice();
        let mut wanted = b"+".as_slice();
        if self.arguments.iter().any(|text| text == "--requirepass") {
            wanted = b"+-";
        }
        if self.arguments.iter().any(|text| text == "--tls-port") {
            // Its alert to what is no handshake.
            (hello, wanted) = (b"PING\r\n\r\n", b"\x15");
        }
        match answers(&mut self.child, self.port, hello, wanted).await? {
            Started::Answers => Ok(()),
            Started::Ended => Err(io::Error::other("redis-server ended at its start")),
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// Where it listens, on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The file of what it wrote since its first start.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where its data and log are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Has `redis-cli` send a command, and gives what it prints.
    fn control(&self, words: &[&str]) -> io::Result<String> {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-e"])
            .args(words)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(io::Error::other(format!("{words:?}: {text}"))),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Cluster of three nodes, each with a third of the slots.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts one, and returns when its state is ok.
    ///
    /// # Errors
    /// As [`Redis::run`]; where it does not come up within two minutes.
    pub async fn start() -> io::Result<Self> {
        let settings = ["--cluster-enabled", "yes", "--appendfsync", "no"];
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Redis::start(&settings).await?);
        }
        let thirds = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        let first_port = nodes[0].port.to_string();
        for (node, (first, last)) in nodes.iter().zip(thirds) {
            node.control(&["CLUSTER", "ADDSLOTSRANGE", first, last])?;
            node.control(&["CLUSTER", "MEET", "127.0.0.1", &first_port])?;
        }
        let cluster = Self { nodes };
        let begun = Instant::now();
        while !cluster.is_ok()? {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("the Cluster does not come up"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(cluster)
    }

    fn is_ok(&self) -> io::Result<bool> {
        for node in &self.nodes {
            let info = node.control(&["CLUSTER", "INFO"])?;
            if !info.contains("cluster_state:ok") || !info.contains("cluster_known_nodes:3") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Deletes a key, on the node that has it.
    ///
    /// # Errors
    /// Where no node has it.
    pub fn forget(&self, key: &str) -> io::Result<()> {
        // The others say MOVED.
        let mut nodes = self.nodes.iter();
        match nodes.find_map(|node| node.control(&["DEL", key]).ok()) {
            Some(deleted) if deleted.trim() == "1" => Ok(()),
            _ => Err(io::Error::other(format!("no node has {key}"))),
        }
    }

    /// Moves the slot of a key to the next node, key by key as `redis-cli
    /// --cluster reshard` does, with `between` at each step: from before the first
    /// key has gone until after the last one has, while the slot still is on its
    /// way.
    ///
    /// # Errors
    /// Where a node refuses a step, or has no key in that slot.
    pub async fn move_slot(&self, key: &str, mut between: impl AsyncFnMut()) -> io::Result<()> {
        let slot = self.nodes[0].control(&["CLUSTER", "KEYSLOT", key])?;
        let slot = slot.trim();
        let keys_on = |node: &Redis| -> io::Result<Vec<String>> {
            let keys = node.control(&["CLUSTER", "GETKEYSINSLOT", slot, "1000"])?;
            let keys = keys.lines().filter(|key| !key.is_empty());
            Ok(keys.map(str::to_owned).collect())
        };
        let id = |node: &Redis| node.control(&["CLUSTER", "MYID"]);
        let mut owner = None;
        for (at, node) in self.nodes.iter().enumerate() {
            owner = owner.or((!keys_on(node)?.is_empty()).then_some(at));
        }
        let owner = owner.ok_or_else(|| io::Error::other("no key is in that slot"))?;
        let (from, to) = (
            &self.nodes[owner],
            &self.nodes[(owner + 1) % self.nodes.len()],
        );
        let (from_id, to_id, port) = (id(from)?, id(to)?, to.port.to_string());
        let (from_id, to_id) = (from_id.trim(), to_id.trim());
        to.control(&["CLUSTER", "SETSLOT", slot, "IMPORTING", from_id])?;
        from.control(&["CLUSTER", "SETSLOT", slot, "MIGRATING", to_id])?;
        between().await;
        // Asked anew each time: keys come and go meanwhile.
        while let Some(key) = keys_on(from)?.pop() {
            from.control(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"])?;
            between().await;
        }
        for node in std::iter::once(to).chain(&self.nodes) {
            node.control(&["CLUSTER", "SETSLOT", slot, "NODE", to_id])?;
        }
        Ok(())
    }

    /// Its URL, with all nodes.
    pub fn url(&self) -> String {
        let node = |node: &Redis| format!("127.0.0.1:{}", node.port);
        let nodes: Vec<_> = self.nodes.iter().map(node).collect();
        format!("redis-cluster://{}", nodes.join(","))
    }
}
