//! A proxy in front of the broker that can cut its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// Segments left until the cut; negative: no cut is set.
    left: AtomicI64,
    cuts: AtomicU64,
    held: AtomicBool,
    mute: AtomicBool,
    silenced: AtomicU64,
    /// Rises with each cut: connections of before end.
    cut: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            left: AtomicI64::new(-1),
            cuts: AtomicU64::new(0),
            held: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            silenced: AtomicU64::new(0),
            cut: watch::Sender::new(0),
        });
        let all = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, to, Arc::clone(&all)));
            }
        });
        Self { port, shared }
    }

    /// Cuts all connections once so many more segments have passed, whichever
    /// way; the last one is lost.
    pub(crate) fn cut_after(&self, segments: i64) {
        self.shared.left.store(segments, Ordering::SeqCst);
    }

    pub(crate) fn cut_now(&self) {
        self.shared.now();
    }

    /// Cuts all connections and lets none through any more.
    pub(crate) fn hold(&self) {
        self.shared.held.store(true, Ordering::SeqCst);
        self.shared.now();
    }

    /// Lets connections through again.
    pub(crate) fn release(&self) {
        self.shared.held.store(false, Ordering::SeqCst);
    }

    /// From now on connections are accepted and nothing is said on them, or
    /// again as ever; those that are there stay as they are.
    pub(crate) fn mute(&self, mute: bool) {
        self.shared.mute.store(mute, Ordering::SeqCst);
    }

    /// How many connections were met with silence.
    pub(crate) fn silenced(&self) -> u64 {
        self.shared.silenced.load(Ordering::SeqCst)
    }

    /// Takes the set cut back; false where it was made.
    pub(crate) fn disarm(&self) -> bool {
        self.shared.left.swap(-1, Ordering::SeqCst) >= 0
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn now(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        self.cut.send_modify(|cut| *cut += 1);
    }

    /// Whether a segment may pass.
    fn passes(&self) -> bool {
        let left = self.left.load(Ordering::SeqCst);
        if left < 0 {
            return true;
        }
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left == 0 {
            self.now();
        }
        left > 0
    }
}

async fn carry(client: TcpStream, to: u16, shared: Arc<Shared>) {
    if shared.held.load(Ordering::SeqCst) {
        return;
    }
    if shared.mute.load(Ordering::SeqCst) {
        shared.silenced.fetch_add(1, Ordering::SeqCst);
        let _open = client;
        return std::future::pending().await;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else {
        return;
    };
    let mut cut = shared.cut.subscribe();
    cut.mark_unchanged();
    let (client, server) = (client.into_split(), server.into_split());
    tokio::select! {
        () = copy(client.0, server.1, &shared) => {}
        () = copy(server.0, client.1, &shared) => {}
        _ = cut.changed() => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 || !shared.passes() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
