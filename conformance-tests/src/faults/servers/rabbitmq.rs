//! [`RabbitMq`].

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, Started, answers, command_as, directory, free_port, give, kill};

const BIN: &str = "/usr/lib/rabbitmq/bin";

/// The user whom the package made for the broker.
const USER: &str = "rabbitmq";

/// A RabbitMQ broker of one's own, with its own `epmd`.
#[derive(Debug)]
pub struct RabbitMq {
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
    epmd: Option<Child>,
    server: Option<Child>,
    port: u16,
}

impl RabbitMq {
    /// Why there is none to start, where there is none.
    pub fn missing() -> Option<String> {
        let server = Path::new(BIN).join("rabbitmq-server");
        (!server.exists()).then(|| format!("{} is not there", server.display()))
    }

    /// Starts one, with these lines of configuration more.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn start(configuration: &str) -> io::Result<Self> {
        Self::start_with(configuration, &[]).await
    }

    /// The same, with these environment variables.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn start_with(configuration: &str, more: &[(&str, &str)]) -> io::Result<Self> {
        let directory = directory()?;
        let (port, epmd_port, dist) = (free_port()?, free_port()?, free_port()?);
        let path = |name: &str| directory.path().join(name).display().to_string();
        let text = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nlog.console = true\nlog.file = false\n\
             default_user = anyqueue\ndefault_pass = secret\n{configuration}"
        );
        std::fs::write(path("rabbitmq.conf"), text)?;
        for file in ["advanced.config", "enabled_plugins"] {
            std::fs::write(path(file), "[].\n")?;
        }
        give(directory.path(), USER)?;
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
        let environment = [
            ("HOME", path("")),
            ("LANG", "C.UTF-8".to_owned()),
            ("ERL_CRASH_DUMP_SECONDS", "0".to_owned()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_EPMD_PORT", epmd_port.to_string()),
            ("RABBITMQ_NODENAME", "anyqueue@localhost".to_owned()),
            ("RABBITMQ_DIST_PORT", dist.to_string()),
            ("RABBITMQ_MNESIA_BASE", path("data")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", path("advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback.to_owned()),
            ("RABBITMQ_CTL_ERL_ARGS", loopback.to_owned()),
            // No shell process around the server: a kill hits itself.
            ("RUNNING_UNDER_SYSTEMD", "1".to_owned()),
        ];
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let all = environment.into_iter().chain(more);
        let environment = all.map(|(key, value)| (key.to_owned(), value)).collect();
        let epmd = command_as(USER, "epmd")
            .args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut broker = Self {
            directory,
            environment,
            epmd: Some(epmd),
            server: None,
            port,
        };
        broker.run().await?;
        Ok(broker)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = command_as(USER, format!("{BIN}/{program}"));
        command
            .envs(self.environment.iter().cloned())
            .current_dir(self.directory.path());
        command
    }

    /// Starts it, also after a kill, and returns when it answers: ten seconds
    /// and more.
    ///
    /// # Errors
    /// Where it cannot be started, ends, or does not answer within two minutes;
    /// with the end of its log.
    pub async fn run(&mut self) -> io::Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join("output"))?;
        let server = self
            .command("rabbitmq-server")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.server = Some(server);
        // The header of the protocol, answered by a frame of type 1.
        let hello = b"AMQP\0\0\x09\x01";
        let why = match answers(&mut self.server, self.port, hello, b"\x01").await {
            Ok(Started::Answers) => return Ok(()),
            Ok(Started::Ended) => "rabbitmq-server ended at its start".to_owned(),
            Err(error) => error.to_string(),
        };
        let end = self.log_end();
        Err(io::Error::other(format!("{why}; its log ends:\n{end}")))
    }

    /// Returns when the broker has on disk which replicated queues it has.
    /// RabbitMQ 3.10 writes their names some seconds after they were declared
    /// (and that of the coordinator of all streams after the first one); killed
    /// before, it does not find what belongs to them.
    ///
    /// # Errors
    /// Where it has not within two minutes.
    pub async fn remembers(&self, quorum_queues: &[&str]) -> io::Result<()> {
        let node = self.directory.path().join("data/anyqueue@localhost");
        let streams = node.join("coordination/anyqueue@localhost/names.dets");
        let quorum = node.join("quorum/anyqueue@localhost/names.dets");
        let wanted = quorum_queues.iter().map(|name| (&quorum, *name));
        let begun = Instant::now();
        for (path, name) in wanted.chain([(&streams, "rabbit_stream_coordinator")]) {
            loop {
                let names = std::fs::read(path).unwrap_or_default();
                let mut parts = names.windows(name.len());
                if parts.any(|part| part == name.as_bytes()) {
                    break;
                }
                if begun.elapsed() > PATIENCE {
                    return Err(io::Error::other(format!("{name} never came to disk")));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self) {
        kill(&mut self.server);
    }

    /// Where it listens, on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The file of what it wrote since its first start.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("output")
    }

    fn log_end(&self) -> String {
        const LINES: usize = 60;
        let log = std::fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("amqp://anyqueue:secret@127.0.0.1:{}/%2f", self.port)
    }

    /// Runs `rabbitmqctl`.
    ///
    /// # Errors
    /// Where it fails, with what it says.
    pub fn control(&self, arguments: &[&str]) -> io::Result<Output> {
        let output = self
            .command("rabbitmqctl")
            .arg("-q")
            .args(arguments)
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(output),
            false => Err(io::Error::other(format!("{arguments:?}: {error}"))),
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.kill();
        kill(&mut self.epmd);
    }
}
