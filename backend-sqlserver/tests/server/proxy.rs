//! A stretch of network that can be cut, and that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyqueue_sqlserver::SqlServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Carries bytes to the server, until it is told to lose answers: then what the
/// client sends still arrives, and the connection ends where the server's answer
/// would begin.
pub(crate) struct Proxy {
    port: u16,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    lose: AtomicBool,
    /// How often a client has begun to speak after the server had: round trips,
    /// whatever their bytes mean and whether they are encrypted.
    turns: AtomicU64,
    connections: AtomicU64,
}

impl Proxy {
    pub(crate) async fn to(config: &SqlServerConfig) -> Self {
        let server = config.connect.get_addr();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Arc::<Line>::default();
        let carried = Arc::clone(&line);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                carried.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(carry(client, server.clone(), Arc::clone(&carried)));
            }
        });
        Self { port, line }
    }

    /// The same store by way of this proxy.
    pub(crate) fn way(&self, config: &SqlServerConfig) -> SqlServerConfig {
        let mut config = config.clone();
        config.connect.host("127.0.0.1");
        config.connect.port(self.port);
        config
    }

    /// Loses all answers from now on, or none.
    pub(crate) fn lose_answers(&self, lose: bool) {
        self.line.lose.store(lose, Ordering::SeqCst);
    }

    pub(crate) fn turns(&self) -> u64 {
        self.line.turns.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.line.connections.load(Ordering::SeqCst)
    }
}

async fn carry(client: TcpStream, server: String, line: Arc<Line>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answered = Arc::new(AtomicBool::new(true));
    let (asked, counted) = (Arc::clone(&answered), Arc::clone(&line));
    let there = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            if asked.swap(false, Ordering::SeqCst) {
                counted.turns.fetch_add(1, Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        answered.store(true, Ordering::SeqCst);
        let lost = line.lose.load(Ordering::SeqCst);
        if lost || to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    there.abort();
}
