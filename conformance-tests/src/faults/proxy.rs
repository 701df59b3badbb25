//! [`Proxy`]: a stretch of network in front of a server, that fails as told.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// What clients send.
    ToServer = 0,
    /// What the server answers.
    ToClient = 1,
}

impl Way {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];
}

/// What becomes of the bytes of one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// They arrive.
    #[default]
    Pass,
    /// They are held, and arrive once they may pass again: a network that
    /// hangs, or a server that does not read.
    Stall,
    /// They are lost while the connection stays open, and its end is not
    /// passed on either: a half-open connection. Once bytes may pass again,
    /// the connections that lost some are cut, since what follows would make
    /// no sense.
    Swallow,
    /// A connection ends where its next byte would pass: with
    /// [`Way::ToClient`], calls are made and their answers are lost.
    Cut,
}

/// How many bytes have arrived since the proxy began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// At the server.
    pub to_server: u64,
    /// At clients.
    pub to_client: u64,
}

impl Carried {
    /// Of one way.
    pub const fn of(self, way: Way) -> u64 {
        match way {
            Way::ToServer => self.to_server,
            Way::ToClient => self.to_client,
        }
    }

    /// What has arrived since `earlier`: the length of an exchange, where
    /// nothing else went through the proxy in between.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            to_server: self.to_server - earlier.to_server,
            to_client: self.to_client - earlier.to_client,
        }
    }
}

/// A stretch of network between clients of this host and a server. It knows
/// nothing of what it carries, so it serves every protocol over TCP whose
/// server does not send clients to another address.
///
/// It passes everything until it is told otherwise; each command acts on the
/// connections that are there and on later ones. The connections end with the
/// value. Must be made on a Tokio runtime, on which it works.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listening: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    /// Host and port.
    server: String,
    settings: watch::Sender<Settings>,
    carried: [AtomicU64; 2],
    /// For each way, how many bytes may pass until the carrying connection is
    /// cut.
    left: [Mutex<Option<u64>>; 2],
    /// For each way, how many bytes had arrived with each piece, where that is
    /// written down.
    pieces: [Mutex<Option<Vec<u64>>>; 2],
    accepted: AtomicU64,
    turns: AtomicU64,
    cuts: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Settings {
    flow: [Flow; 2],
    delay: Duration,
    door: Door,
    /// Rises with each cut of everything.
    cut: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Door {
    #[default]
    Open,
    Refuses,
    Mute,
}

impl Proxy {
    /// A proxy on a free port of 127.0.0.1, in front of the server that
    /// listens there on this port, now or later.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn to(server: u16) -> io::Result<Self> {
        Self::to_address(format!("127.0.0.1:{server}")).await
    }

    /// The same in front of a server anywhere: `host:port`.
    ///
    /// # Errors
    /// As [`to`](Self::to).
    pub async fn to_address(server: String) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            server,
            settings: watch::Sender::new(Settings::default()),
            carried: Default::default(),
            left: Default::default(),
            pieces: Default::default(),
            accepted: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
        });
        let all = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            loop {
                // An error here is one of a connection, or a lack of files.
                let Ok((client, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let Settings { door, cut, .. } = *all.settings.borrow();
                if door == Door::Refuses {
                    continue;
                }
                all.accepted.fetch_add(1, Ordering::SeqCst);
                let all = Arc::clone(&all);
                if door == Door::Open {
                    tokio::spawn(connect(client, all));
                    continue;
                }
                tokio::spawn(async move {
                    let _silent = client;
                    let mut settings = all.settings.subscribe();
                    let _ = settings.wait_for(|now| now.cut != cut).await;
                });
            }
        });
        Ok(Self {
            port,
            shared,
            listening: listening.abort_handle(),
        })
    }

    /// Where it listens, on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The server's URL with the proxy's port in place of the server's.
    pub fn url(&self, server: &str) -> String {
        // The last one: a password may look like a port.
        let (_, port) = self.shared.server.rsplit_once(':').unwrap_or_default();
        match server.rsplit_once(&format!(":{port}")) {
            Some((start, end)) => format!("{start}:{}{end}", self.port),
            None => server.to_owned(),
        }
    }

    /// Heals everything: bytes pass both ways at once, connections are taken,
    /// no cut is set. Connections that lost bytes end.
    pub fn pass(&self) {
        for way in Way::BOTH {
            *self.shared.left(way) = None;
        }
        self.change(|settings| {
            let cut = settings.cut;
            *settings = Settings {
                cut,
                ..Settings::default()
            };
        });
    }

    /// Says what becomes of the bytes of one way from now on.
    pub fn flow(&self, way: Way, flow: Flow) {
        self.change(|settings| settings.flow[way as usize] = flow);
    }

    /// Holds the bytes of both ways.
    pub fn stall(&self) {
        self.change(|settings| settings.flow = [Flow::Stall; 2]);
    }

    /// Cuts all connections, now.
    pub fn cut(&self) {
        self.shared.cuts.fetch_add(1, Ordering::SeqCst);
        self.change(|settings| settings.cut += 1);
    }

    /// Cuts a connection once exactly `bytes` more have passed this way, all
    /// connections together: the one that carried the last of them, at once;
    /// where `bytes` is 0, the one that would carry the next. It is cut both
    /// ways. Made once, in place of one that was set before.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        *self.shared.left(way) = Some(bytes);
    }

    /// Takes back the cut that [`cut_after`](Self::cut_after) set; false where
    /// it was made, or none was set.
    pub fn disarm(&self, way: Way) -> bool {
        self.shared.left(way).take().is_some()
    }

    /// Takes no new connections until [`pass`](Self::pass): they end at once.
    /// Those that are there stay.
    pub fn refuse(&self) {
        self.change(|settings| settings.door = Door::Refuses);
    }

    /// Takes new connections and says nothing on them, then or later, until
    /// [`pass`](Self::pass): those that come after that are carried again.
    /// Those that were there before stay as they are.
    pub fn mute(&self) {
        self.change(|settings| settings.door = Door::Mute);
    }

    /// Holds each piece of what passes for so long.
    pub fn delay(&self, delay: Duration) {
        self.change(|settings| settings.delay = delay);
    }

    /// How many bytes have arrived.
    pub fn carried(&self) -> Carried {
        let of = |way: Way| self.shared.carried[way as usize].load(Ordering::SeqCst);
        Carried {
            to_server: of(Way::ToServer),
            to_client: of(Way::ToClient),
        }
    }

    /// Begins to write down after how many bytes of this way a piece ends,
    /// counted from now: what one side said in one go arrives as one, mostly,
    /// so these are the steps of a protocol.
    pub fn note_pieces(&self, way: Way) {
        *self.shared.pieces(way) = Some(vec![self.carried().of(way)]);
    }

    /// What was written down since [`note_pieces`](Self::note_pieces), and an
    /// end to it.
    pub fn pieces(&self, way: Way) -> Vec<u64> {
        let noted = self.shared.pieces(way).take().unwrap_or_default();
        let Some((begin, ends)) = noted.split_first() else {
            return Vec::new();
        };
        ends.iter().map(|end| end.saturating_sub(*begin)).collect()
    }

    /// How many connections were taken.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How often a client has begun to speak after its server had: round
    /// trips, whatever their bytes mean and whether they are encrypted.
    pub fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::SeqCst)
    }

    /// How many cuts were made: those of everything count one, as do those of
    /// one connection.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) {
        self.shared.settings.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.change(|settings| settings.cut += 1);
    }
}

impl Shared {
    fn left(&self, way: Way) -> MutexGuard<'_, Option<u64>> {
        let left = &self.left[way as usize];
        left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pieces(&self, way: Way) -> MutexGuard<'_, Option<Vec<u64>>> {
        let pieces = &self.pieces[way as usize];
        pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to so many bytes from what may still pass: how many may, and
    /// whether the connection is cut behind them.
    fn admit(&self, way: Way, length: usize) -> (usize, Then) {
        let mut left = self.left(way);
        let Some(bytes) = *left else {
            return (length, Then::GoOn);
        };
        let admitted = length.min(usize::try_from(bytes).unwrap_or(usize::MAX));
        let rest = bytes - admitted as u64;
        if rest > 0 {
            *left = Some(rest);
            return (admitted, Then::GoOn);
        }
        *left = None;
        (admitted, Then::Cut)
    }
}

#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    Cut,
}

/// Carries a connection until its end, or a cut.
async fn connect(client: TcpStream, shared: Arc<Shared>) {
    let mut settings = shared.settings.subscribe();
    let born = settings.borrow_and_update().cut;
    let Ok(server) = TcpStream::connect(&shared.server).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let answered = AtomicBool::new(true);
    let pipe = |way, from, to| Pipe {
        way,
        answered: &answered,
        from,
        to,
        shared: &shared,
        settings: shared.settings.subscribe(),
    };
    let ways = async {
        tokio::try_join!(
            pipe(Way::ToServer, from_client, to_server).carry(),
            pipe(Way::ToClient, from_server, to_client).carry(),
        )
    };
    tokio::select! {
        biased;
        // The sender lives as long as `shared`.
        _ = settings.wait_for(|now| now.cut != born) => {}
        _ = ways => {}
    }
}

/// One way of a connection.
struct Pipe<'a> {
    way: Way,
    /// Whether the server spoke last.
    answered: &'a AtomicBool,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    shared: &'a Shared,
    settings: watch::Receiver<Settings>,
}

/// The connection ends, both ways.
struct Broken;

impl Pipe<'_> {
    /// Carries until the sender has no more to say.
    async fn carry(mut self) -> Result<(), Broken> {
        let mut buffer = vec![0; 64 * 1024];
        let mut lost = false;
        loop {
            let read = tokio::select! {
                biased;
                _ = self.settings.wait_for(|now| lost && now.flow[self.way as usize] != Flow::Swallow)
                    => return Err(Broken),
                read = self.from.read(&mut buffer) => read,
            };
            match self.released().await {
                Flow::Swallow => {
                    lost = true;
                    if !matches!(read, Ok(1..)) {
                        self.until(|flow| flow != Flow::Swallow).await;
                    }
                }
                Flow::Cut => return Err(self.cut()),
                Flow::Pass | Flow::Stall => match read {
                    Ok(0) => return self.to.shutdown().await.map_err(|_| Broken),
                    Ok(length) => self.pass(&buffer[..length]).await?,
                    Err(_) => return Err(Broken),
                },
            }
        }
    }

    /// Waits while bytes are held, and tells what becomes of them.
    async fn released(&mut self) -> Flow {
        let delay = self.settings.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.until(|flow| flow != Flow::Stall).await
    }

    async fn until(&mut self, wanted: impl Fn(Flow) -> bool) -> Flow {
        let way = self.way as usize;
        let found = self.settings.wait_for(|now| wanted(now.flow[way])).await;
        found.map_or(Flow::Cut, |now| now.flow[way])
    }

    async fn pass(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let (admitted, then) = self.shared.admit(self.way, bytes.len());
        // Before they arrive: who has an answer finds it counted.
        let carried = &self.shared.carried[self.way as usize];
        let before = carried.fetch_add(admitted as u64, Ordering::SeqCst);
        if let Some(pieces) = &mut *self.shared.pieces(self.way) {
            pieces.push(before + admitted as u64);
        }
        let turned = self
            .answered
            .swap(self.way == Way::ToClient, Ordering::SeqCst);
        if turned && self.way == Way::ToServer {
            self.shared.turns.fetch_add(1, Ordering::SeqCst);
        }
        let sent = self.to.write_all(&bytes[..admitted]).await;
        sent.map_err(|_| Broken)?;
        if then == Then::Cut {
            let _ = self.to.shutdown().await;
            return Err(self.cut());
        }
        Ok(())
    }

    fn cut(&self) -> Broken {
        self.shared.cuts.fetch_add(1, Ordering::SeqCst);
        Broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What only tells a hang from a result.
    const HANG: Duration = Duration::from_secs(30);

    /// A server that answers each byte with the next one, and a proxy.
    async fn counting() -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(byte) = stream.read_u8().await {
                        let _ = stream.write_u8(byte.wrapping_add(1)).await;
                    }
                });
            }
        });
        Proxy::to(port).await.unwrap()
    }

    async fn connection(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap()
    }

    async fn ask(stream: &mut TcpStream, byte: u8) -> io::Result<u8> {
        let exchange = async {
            stream.write_u8(byte).await?;
            stream.read_u8().await
        };
        tokio::time::timeout(HANG, exchange).await.expect("no hang")
    }

    #[tokio::test]
    async fn bytes_pass_and_are_counted() {
        let proxy = counting().await;
        let mut stream = connection(&proxy).await;
        for byte in 0..9 {
            assert_eq!(ask(&mut stream, byte).await.unwrap(), byte + 1);
        }
        let nine = Carried {
            to_server: 9,
            to_client: 9,
        };
        assert_eq!(proxy.carried(), nine);
        assert_eq!((proxy.accepted(), proxy.turns(), proxy.cuts()), (1, 9, 0));
    }

    #[tokio::test]
    async fn the_ends_of_pieces_are_noted() {
        let proxy = counting().await;
        let mut stream = connection(&proxy).await;
        assert_eq!(ask(&mut stream, 1).await.unwrap(), 2);
        proxy.note_pieces(Way::ToServer);
        for byte in 0..3 {
            assert_eq!(ask(&mut stream, byte).await.unwrap(), byte + 1);
        }
        assert_eq!(proxy.pieces(Way::ToServer), [1, 2, 3]);
        assert_eq!(ask(&mut stream, 1).await.unwrap(), 2);
        for way in Way::BOTH {
            assert!(proxy.pieces(way).is_empty());
        }
    }

    #[tokio::test]
    async fn a_cut_ends_what_is_there_and_nothing_later() {
        let proxy = counting().await;
        let (mut one, mut two) = (connection(&proxy).await, connection(&proxy).await);
        assert_eq!(ask(&mut one, 1).await.unwrap(), 2);
        assert_eq!(ask(&mut two, 1).await.unwrap(), 2);
        proxy.cut();
        assert!(ask(&mut one, 2).await.is_err() && ask(&mut two, 2).await.is_err());
        let mut later = connection(&proxy).await;
        assert_eq!(ask(&mut later, 3).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_cut_at_a_byte_is_made_there_and_once() {
        for way in Way::BOTH {
            for bytes in 0..4 {
                let proxy = counting().await;
                let mut stream = connection(&proxy).await;
                assert_eq!(ask(&mut stream, 1).await.unwrap(), 2);
                let before = proxy.carried();
                proxy.cut_after(way, bytes);
                let mut answered = 0;
                while ask(&mut stream, 7).await.is_ok() {
                    answered += 1;
                }
                assert_eq!(proxy.carried().since(before).of(way), bytes);
                // Where the last byte was a question, its answer is lost.
                assert!(answered <= bytes && answered + 1 >= bytes, "{answered}");
                assert_eq!(proxy.cuts(), 1);
                assert!(!proxy.disarm(way));
                let mut later = connection(&proxy).await;
                assert_eq!(ask(&mut later, 1).await.unwrap(), 2);
            }
        }
    }

    #[tokio::test]
    async fn stalled_bytes_arrive_once_they_may() {
        let proxy = counting().await;
        let mut stream = connection(&proxy).await;
        assert_eq!(ask(&mut stream, 1).await.unwrap(), 2);
        proxy.stall();
        stream.write_u8(5).await.unwrap();
        // Held, however long one looks: nothing but `pass` lets it go on.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(proxy.carried().to_server, 1);
        proxy.pass();
        let answer = tokio::time::timeout(HANG, stream.read_u8()).await;
        assert_eq!(answer.expect("no hang").unwrap(), 6);
    }

    #[tokio::test]
    async fn a_half_open_connection_swallows_and_is_cut_when_healed() {
        let proxy = counting().await;
        let (mut lossy, mut idle) = (connection(&proxy).await, connection(&proxy).await);
        assert_eq!(ask(&mut lossy, 1).await.unwrap(), 2);
        assert_eq!(ask(&mut idle, 1).await.unwrap(), 2);
        proxy.flow(Way::ToClient, Flow::Swallow);
        lossy.write_u8(1).await.unwrap();
        // The question arrives, and its answer is lost.
        while proxy.carried().to_server < 3 {
            tokio::task::yield_now().await;
        }
        let answer = tokio::time::timeout(Duration::from_millis(50), lossy.read_u8()).await;
        assert!(answer.is_err(), "no answer, and no end either");
        proxy.pass();
        assert!(ask(&mut lossy, 1).await.is_err());
        assert_eq!(ask(&mut idle, 3).await.unwrap(), 4, "it lost nothing");
    }

    #[tokio::test]
    async fn lost_answers_end_the_connection_where_they_would_begin() {
        let proxy = counting().await;
        proxy.flow(Way::ToClient, Flow::Cut);
        for round in 1..4 {
            let mut stream = connection(&proxy).await;
            assert!(ask(&mut stream, 1).await.is_err());
            assert_eq!(proxy.carried().to_server, round);
        }
        assert_eq!((proxy.carried().to_client, proxy.cuts()), (0, 3));
    }

    #[tokio::test]
    async fn new_connections_are_refused_and_the_old_go_on() {
        let proxy = counting().await;
        let mut old = connection(&proxy).await;
        assert_eq!(ask(&mut old, 1).await.unwrap(), 2);
        proxy.refuse();
        assert!(ask(&mut connection(&proxy).await, 1).await.is_err());
        assert_eq!(ask(&mut old, 1).await.unwrap(), 2);
        proxy.pass();
        assert_eq!(ask(&mut connection(&proxy).await, 1).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_mute_connection_stays_so() {
        let proxy = counting().await;
        proxy.mute();
        let mut silent = connection(&proxy).await;
        silent.write_u8(1).await.unwrap();
        while proxy.accepted() == 0 {
            tokio::task::yield_now().await;
        }
        proxy.pass();
        assert_eq!(ask(&mut connection(&proxy).await, 1).await.unwrap(), 2);
        assert_eq!(proxy.carried().to_server, 1);
        proxy.cut();
        let end = tokio::time::timeout(HANG, silent.read_u8()).await;
        assert!(end.expect("no hang").is_err());
    }

    #[test]
    fn only_the_port_of_the_url_changes() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let proxy = runtime.block_on(Proxy::to(5432)).unwrap();
        let url = proxy.url("postgres://u:5432@127.0.0.1:5432/db?schema=x");
        assert_eq!(
            url,
            format!("postgres://u:5432@127.0.0.1:{}/db?schema=x", proxy.port())
        );
    }
}
