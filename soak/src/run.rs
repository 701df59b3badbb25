//! A soak from its start to its judgement.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyqueue::{Backend, JobId, State};
use anyqueue_conformance_tests::faults::history::{Asked, Fault, History, Log, now};
use anyqueue_conformance_tests::faults::{Flow, Proxy, Way, check, recording};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use crate::child::{End, Orders, Role, history_of};
use crate::faults::{Deck, Kind};
use crate::store::Store;
use crate::{Failure, Options, board};

const WORKERS: usize = 3;
const PRODUCERS: usize = 2;

/// After the load, each step of coming to an end may take so long.
const PATIENCE: Duration = Duration::from_secs(150);

pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    println!(
        "soak of {} for {:.1} minutes; again with --seed {}",
        options.backend,
        options.time.as_secs_f64() / 60.0,
        options.seed
    );
    let folder = tempfile::Builder::new()
        .prefix("anyqueue-soak-")
        .tempdir()?;
    // Starts of RabbitMQ come on top of the load's time.
    let bound = options.time * 3 + PATIENCE * 4;
    let outcome = tokio::time::timeout(bound, soak(options, folder.path()))
        .await
        .unwrap_or_else(|_| Err(format!("no end within {bound:?}").into()));
    if outcome.is_err() {
        println!(
            "histories and outputs are kept in {}",
            folder.keep().display()
        );
    }
    outcome
}

async fn soak(options: &Options, folder: &Path) -> Result<(), Failure> {
    let store = Store::new(&options.backend, folder, options.seed).await?;
    let mut soak = Soak::new(options, store, folder).await?;
    let begun = Instant::now();
    let load = soak.load(options.time).await;
    let loaded = begun.elapsed();
    let drained = match load {
        Ok(()) => soak.drain().await,
        Err(error) => Err(error),
    };
    if drained.is_err() {
        soak.store.keep_log(folder)?;
    }
    soak.end().await;
    let files = (0..soak.next_process).map(|process| history_of(folder, process));
    let history = History::read(files.filter(|file| file.exists()))?;
    let verdict = check(&history);
    print!("{}", verdict.report());
    let board = board::Board::new(options, loaded, &history, &verdict, &soak.done);
    println!("{board}");
    drained?;
    board.judge(&soak.kinds)
}

/// A process, or with memory a runtime, that works on the store.
struct Member {
    process: u32,
    role: Role,
    body: Body,
    proxy: Option<Proxy>,
}

enum Body {
    Process(Child),
    Runtime(Option<tokio::runtime::Runtime>, watch::Sender<bool>),
}

struct Soak {
    random: fastrand::Rng,
    store: Store,
    folder: PathBuf,
    lease: Duration,
    log: Arc<Log>,
    /// With nothing in between.
    direct: Arc<dyn Backend>,
    members: Vec<Member>,
    next_process: u32,
    kinds: Vec<Kind>,
    done: BTreeMap<Kind, u32>,
}

impl Soak {
    async fn new(options: &Options, store: Store, folder: &Path) -> Result<Self, Failure> {
        let log = Log::to_file(&history_of(folder, 0), 0)?;
        log.rules(store.rules());
        let direct = recording(anyqueue::open(&store.url()).await?, Arc::clone(&log));
        tokio::time::timeout(PATIENCE, direct.prepare()).await??;
        let processes = !matches!(store, Store::Memory);
        let network = store.proxy().await?.is_some();
        let mut soak = Self {
            random: fastrand::Rng::with_seed(options.seed),
            kinds: Kind::of(network, store.has_own_server(), processes),
            // RabbitMQ's time stands still for longer.
            lease: Duration::from_secs(if options.backend == "rabbitmq" { 5 } else { 3 }),
            folder: folder.to_owned(),
            store,
            log,
            direct,
            members: Vec::new(),
            next_process: 1,
            done: BTreeMap::new(),
        };
        for (role, count) in [(Role::Worker, WORKERS), (Role::Producer, PRODUCERS)] {
            for _ in 0..count {
                soak.start(role).await?;
            }
        }
        Ok(soak)
    }

    async fn start(&mut self, role: Role) -> Result<(), Failure> {
        let proxy = self.store.proxy().await?;
        let url = self.store.url();
        let orders = Orders {
            role,
            process: self.next_process,
            url: proxy
                .as_ref()
                .map_or_else(|| url.clone(), |proxy| proxy.url(&url)),
            folder: self.folder.clone(),
            seed: self.random.u64(..),
            lease: self.lease,
        };
        self.next_process += 1;
        let process = orders.process;
        let body = match self.store {
            Store::Memory => {
                let (raise, end) = watch::channel(false);
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()?;
                runtime.spawn(async move { orders.follow(End(end)).await });
                Body::Runtime(Some(runtime), raise)
            }
            _ => Body::Process(orders.start()?),
        };
        self.members.push(Member {
            process,
            role,
            body,
            proxy,
        });
        Ok(())
    }

    /// Lets faults happen until time is up.
    async fn load(&mut self, time: Duration) -> Result<(), Failure> {
        self.store.settles().await?;
        let begun = Instant::now();
        let mut deck = Deck::new(self.kinds.clone());
        tokio::time::sleep(Duration::from_secs(2)).await;
        while begun.elapsed() < time {
            let kind = deck.draw(&mut self.random);
            self.make(kind).await?;
            self.replace_the_dead().await?;
            let pause = Duration::from_millis(self.random.u64(300..2_500));
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// A member of this role.
    fn choose(&mut self, role: Option<Role>) -> usize {
        let fits = |member: &Member| role.is_none_or(|role| member.role == role);
        let all: Vec<usize> = (0..self.members.len())
            .filter(|&at| fits(&self.members[at]))
            .collect();
        self.random.choice(all).unwrap_or_default()
    }

    async fn make(&mut self, kind: Kind) -> Result<(), Failure> {
        let time = kind.time(&mut self.random, self.lease);
        let role = match kind {
            Kind::KillWorker | Kind::StopWorker => Some(Role::Worker),
            Kind::KillProducer => Some(Role::Producer),
            _ => None,
        };
        let at = self.choose(role);
        let way = self.random.choice(Way::BOTH).unwrap_or(Way::ToClient);
        let from = now();
        let process = match kind {
            Kind::KillServer | Kind::CutAll => None,
            _ => Some(self.members[at].process),
        };
        let proxy = |members: &[Member], act: &dyn Fn(&Proxy)| {
            members[at].proxy.iter().for_each(act);
        };
        match kind {
            Kind::KillServer => {
                self.store.kill();
                tokio::time::sleep(time).await;
                self.store.start().await?;
            }
            Kind::KillWorker | Kind::KillProducer => self.members[at].kill(),
            Kind::StopWorker => {
                self.members[at].signal(Signal::STOP);
                tokio::time::sleep(time).await;
                self.members[at].signal(Signal::CONT);
            }
            Kind::CutAll => {
                let proxies = self
                    .members
                    .iter()
                    .filter_map(|member| member.proxy.as_ref());
                proxies.for_each(Proxy::cut);
            }
            Kind::Cut => proxy(&self.members, &|proxy| proxy.cut()),
            Kind::Stall => proxy(&self.members, &|proxy| proxy.stall()),
            Kind::HalfOpen => proxy(&self.members, &|proxy| proxy.flow(way, Flow::Swallow)),
            Kind::LoseAnswers => {
                proxy(&self.members, &|proxy| proxy.flow(Way::ToClient, Flow::Cut));
            }
            Kind::Refuse => proxy(&self.members, &|proxy| {
                proxy.refuse();
                proxy.cut();
            }),
            Kind::Delay => proxy(&self.members, &|proxy| {
                proxy.delay(Duration::from_millis(40));
            }),
        }
        if matches!(
            kind,
            Kind::Stall | Kind::HalfOpen | Kind::LoseAnswers | Kind::Refuse | Kind::Delay
        ) {
            tokio::time::sleep(time).await;
            proxy(&self.members, &Proxy::pass);
        }
        self.log.fault(Fault {
            what: kind.as_str().to_owned(),
            process,
            from,
            to: now(),
        });
        *self.done.entry(kind).or_default() += 1;
        Ok(())
    }

    /// Starts another for each process that has ended.
    async fn replace_the_dead(&mut self) -> Result<(), Failure> {
        let mut roles = Vec::new();
        let mut alive = Vec::new();
        for mut member in std::mem::take(&mut self.members) {
            match member.ended()? {
                Some(code) if code != "killed" => {
                    let process = member.process;
                    return Err(format!("process {process} ended by itself: {code}").into());
                }
                Some(_) => roles.push(member.role),
                None => alive.push(member),
            }
        }
        self.members = alive;
        for role in roles {
            self.start(role).await?;
        }
        Ok(())
    }

    /// Heals everything, lets the workers finish, and reads every job.
    async fn drain(&mut self) -> Result<(), Failure> {
        for member in &self.members {
            member.proxy.iter().for_each(Proxy::pass);
        }
        for member in &mut self.members {
            if member.role == Role::Producer {
                member.ask_to_end();
            }
        }
        self.until_ended(Role::Producer).await?;
        let begun = Instant::now();
        loop {
            let counts = tokio::time::timeout(Duration::from_secs(30), self.direct.counts()).await;
            let left = match counts {
                Ok(Ok(counts)) => {
                    let waits = [State::Scheduled, State::Ready, State::Running];
                    let of = |state| counts.iter().map(move |queue| queue.counts.get(state));
                    let left = waits.into_iter().flat_map(of).sum::<u64>();
                    if left == 0 {
                        break;
                    }
                    format!("{left} jobs are left")
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "counts hang".to_owned(),
            };
            if begun.elapsed() > PATIENCE {
                return Err(format!("not drained within {PATIENCE:?}: {left}").into());
            }
            self.replace_the_dead().await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.log.drained();
        let files = (0..self.next_process).map(|process| history_of(&self.folder, process));
        let history = History::read(files.filter(|file| file.exists()))?;
        let mut ids: Vec<JobId> = Vec::new();
        for call in &history.calls {
            if let Asked::Enqueue(jobs) = &call.asked {
                ids.extend(jobs.iter().filter_map(|job| job.job.parse::<JobId>().ok()));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        for some in ids.chunks(500) {
            let begun = Instant::now();
            loop {
                match tokio::time::timeout(PATIENCE, self.direct.get(some)).await? {
                    Ok(_) => break,
                    Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }
        for member in &mut self.members {
            member.ask_to_end();
        }
        self.until_ended(Role::Worker).await
    }

    async fn until_ended(&mut self, role: Role) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let mut all = true;
            for member in self.members.iter_mut().filter(|member| member.role == role) {
                match member.ended()?.as_deref() {
                    Some("well" | "killed") => {}
                    Some(code) => {
                        let process = member.process;
                        return Err(format!("process {process} ended badly: {code}").into());
                    }
                    None => all = false,
                }
            }
            if all {
                self.members.retain(|member| member.role != role);
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("a {role:?} does not come to its end").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nothing of it is left running.
    async fn end(&mut self) {
        for member in &mut self.members {
            member.signal(Signal::CONT);
            member.kill();
        }
        self.members.clear();
        self.store.kill();
        tokio::task::yield_now().await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Member {
    fn signal(&self, signal: Signal) {
        if let Body::Process(child) = &self.body
            && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// kill -9; a runtime is dropped with all its tasks.
    fn kill(&mut self) {
        match &mut self.body {
            Body::Process(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Body::Runtime(runtime, _) => {
                if let Some(runtime) = runtime.take() {
                    runtime.shutdown_background();
                }
            }
        }
    }

    fn ask_to_end(&mut self) {
        match &mut self.body {
            Body::Process(child) => drop(child.stdin.take()),
            Body::Runtime(_, raise) => drop(raise.send(true)),
        }
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Result<Option<String>, Failure> {
        Ok(match &mut self.body {
            Body::Process(child) => child.try_wait()?.map(|status| {
                use std::os::unix::process::ExitStatusExt as _;
                match (status.success(), status.signal()) {
                    (true, _) => "well".to_owned(),
                    (_, Some(9)) => "killed".to_owned(),
                    _ => status.to_string(),
                }
            }),
            Body::Runtime(None, _) => Some("killed".to_owned()),
            Body::Runtime(Some(_), raise) => raise.is_closed().then(|| "well".to_owned()),
        })
    }
}
