//! [`Store`]: the store of a soak, and its server if it has one.

use std::path::Path;

use anyqueue_conformance_tests::faults::Proxy;
use anyqueue_conformance_tests::faults::history::Rules;
use anyqueue_conformance_tests::faults::servers::{Postgres, RabbitMq, Redis};

use crate::Failure;

pub(crate) enum Store {
    Memory,
    Sqlite(String),
    Postgres(Box<Postgres>),
    Redis(Redis),
    RabbitMq(Box<RabbitMq>),
    /// The URL, and the port on this host.
    SqlServer(String, u16),
}

impl Store {
    /// Makes it, and starts its server.
    pub(crate) async fn new(backend: &str, folder: &Path, seed: u64) -> Result<Self, Failure> {
        Ok(match backend {
            "memory" => Self::Memory,
            "sqlite" => Self::Sqlite(format!("sqlite://{}/jobs.db", folder.display())),
            "postgres" => {
                let mut server = Postgres::new()?;
                server.start().await?;
                Self::Postgres(Box::new(server))
            }
            "redis" => Self::Redis(Redis::start(&[]).await?),
            "rabbitmq" => Self::RabbitMq(Box::new(RabbitMq::start("").await?)),
            "sqlserver" => {
                let variable = "ANYQUEUE_TEST_SQLSERVER_URL";
                let url = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
                let (_, rest) = url
                    .rsplit_once("127.0.0.1:")
                    .ok_or("only a sqlserver:// URL with a port of 127.0.0.1 can be soaked")?;
                let digits = rest
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(rest.len());
                let port = rest[..digits].parse()?;
                let joint = if url.contains('?') { '&' } else { '?' };
                Self::SqlServer(format!("{url}{joint}schema=soak_{seed:016x}"), port)
            }
            other => return Err(format!("there is no backend {other} to soak").into()),
        })
    }

    /// Its URL, with nothing in between.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Memory => "memory:soak".to_owned(),
            Self::Sqlite(url) | Self::SqlServer(url, _) => url.clone(),
            Self::Postgres(server) => server.url(),
            Self::Redis(server) => server.url(),
            Self::RabbitMq(server) => server.url(),
        }
    }

    /// A stretch of network in front of it; none where there is no network.
    pub(crate) async fn proxy(&self) -> Result<Option<Proxy>, Failure> {
        let port = match self {
            Self::Memory | Self::Sqlite(_) => return Ok(None),
            Self::Postgres(server) => server.port(),
            Self::Redis(server) => server.port(),
            Self::RabbitMq(server) => server.port(),
            Self::SqlServer(_, port) => *port,
        };
        Ok(Some(Proxy::to(port).await?))
    }

    /// Whether the server can be killed.
    pub(crate) const fn has_own_server(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::Redis(_) | Self::RabbitMq(_))
    }

    /// kill -9 of the server.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Postgres(server) => server.kill(),
            Self::Redis(server) => server.kill(),
            Self::RabbitMq(server) => server.kill(),
            Self::Memory | Self::Sqlite(_) | Self::SqlServer(..) => {}
        }
    }

    /// Copies what its server wrote to the folder.
    pub(crate) fn keep_log(&self, folder: &Path) -> Result<(), Failure> {
        let log = match self {
            Self::Postgres(server) => server.log(),
            Self::Redis(server) => server.log(),
            Self::RabbitMq(server) => server.log(),
            Self::Memory | Self::Sqlite(_) | Self::SqlServer(..) => return Ok(()),
        };
        std::fs::copy(log, folder.join("server.log"))?;
        Ok(())
    }

    /// Starts the killed server again, and returns when it answers.
    pub(crate) async fn start(&mut self) -> Result<(), Failure> {
        match self {
            Self::Postgres(server) => server.start().await?,
            Self::Redis(server) => server.run().await?,
            Self::RabbitMq(server) => server.run().await?,
            Self::Memory | Self::Sqlite(_) | Self::SqlServer(..) => {}
        }
        Ok(())
    }

    /// Returns when the server may be killed: RabbitMQ 3.10 first has to write
    /// down which queues it has.
    pub(crate) async fn settles(&self) -> Result<(), Failure> {
        if let Self::RabbitMq(server) = self {
            let queues = ["anyqueue.leader", "anyqueue.tickets"];
            server.remembers(&queues).await?;
        }
        Ok(())
    }

    /// What its clock and leases may do.
    pub(crate) fn rules(&self) -> Rules {
        let mut rules = Rules::default();
        if let Self::RabbitMq(_) = self {
            // Time is the leader's ticks, 30 ms fine, also where one is missed
            // (backend-rabbitmq/FOLD.md, "The clock"); and who lost its ticket may
            // lose its leases.
            rules.slack = 100_000;
            rules.slack_beside_faults = rules.slack;
            rules.takeover = Some(10_000_000);
        }
        rules
    }
}
