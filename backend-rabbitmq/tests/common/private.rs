//! A broker of a test's own, on free ports of the loopback interface, that it
//! may kill.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};

use super::eventually;

const BIN: &str = "/usr/lib/rabbitmq/bin";

/// How long it may take to answer a connection.
const ANSWER: Duration = Duration::from_secs(5);

/// Why there is no private broker, where there is none.
pub(crate) fn missing() -> Option<String> {
    let server = Path::new(BIN).join("rabbitmq-server");
    (!server.exists()).then(|| format!("{} is not there", server.display()))
}

/// The broker; ends with the test.
pub(crate) struct Broker {
    directory: PathBuf,
    environment: Vec<(String, String)>,
    epmd: Child,
    server: Option<Child>,
    port: u16,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// As root the broker runs as its package's user.
fn command(program: &str) -> Command {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=rabbitmq",
        "--regid=rabbitmq",
        "--init-groups",
        "--",
    ]);
    command.arg(program);
    command
}

impl Broker {
    /// Starts one, with these lines of configuration more.
    pub(crate) async fn start(configuration: &str) -> Self {
        Self::start_with(configuration, &[]).await
    }

    /// The same, with these environment variables.
    pub(crate) async fn start_with(configuration: &str, more: &[(&str, &str)]) -> Self {
        let name = format!("anyqueue-{}", uuid::Uuid::now_v7().simple());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        let [port, epmd_port, dist] = [(); 3].map(|()| free_port());
        let path = |name: &str| directory.join(name).display().to_string();
        let text = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nlog.console = true\nlog.file = false\n\
             default_user = anyqueue\ndefault_pass = secret\n{configuration}"
        );
        std::fs::write(path("rabbitmq.conf"), text).unwrap();
        for file in ["advanced.config", "enabled_plugins"] {
            std::fs::write(path(file), "[].\n").unwrap();
        }
        let chown = Command::new("chown")
            .arg("-R")
            .arg("rabbitmq")
            .arg(&directory)
            .output();
        drop(chown);
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
        let environment = [
            ("HOME", directory.display().to_string()),
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
        let mut environment: Vec<_> = environment
            .map(|(key, value)| (key.to_owned(), value))
            .into();
        let more = more
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        environment.extend(more);
        let epmd = command("epmd")
            .args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut broker = Self {
            directory,
            environment,
            epmd,
            server: None,
            port,
        };
        broker.run().await;
        broker
    }

    /// Starts the server, again after a kill, and returns when it answers.
    pub(crate) async fn run(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("output"))
            .unwrap();
        let server = command(&format!("{BIN}/rabbitmq-server"))
            .envs(self.environment.iter().cloned())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        let url = self.url();
        eventually("the broker answers", async || {
            // Without a limit it would wait for a server that dies meanwhile.
            let opened = Connection::connect(&url, ConnectionProperties::default());
            let opened = tokio::time::timeout(ANSWER, opened).await.ok()?;
            let connection = opened.ok()?;
            let closed = connection.close(200, "".into());
            tokio::time::timeout(ANSWER, closed).await.ok()?.ok()
        })
        .await;
    }

    /// Returns when the broker has on disk which replicated queues it has.
    /// RabbitMQ 3.10 writes their names some seconds after they were declared
    /// (and that of the coordinator of all streams after the first one); killed
    /// before, it does not find what belongs to them.
    pub(crate) async fn remembers(&self, quorum_queues: &[&str]) {
        let node = self.directory.join("data/anyqueue@localhost");
        let streams = node.join("coordination/anyqueue@localhost/names.dets");
        let quorum = node.join("quorum/anyqueue@localhost/names.dets");
        let wanted = quorum_queues.iter().map(|name| (&quorum, *name));
        for (path, name) in wanted.chain([(&streams, "rabbit_stream_coordinator")]) {
            eventually(&format!("{name} is on disk"), async || {
                let names = std::fs::read(path).ok()?;
                let mut parts = names.windows(name.len());
                parts.any(|part| part == name.as_bytes()).then_some(())
            })
            .await;
        }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://anyqueue:secret@127.0.0.1:{}/%2f", self.port)
    }

    /// Runs `rabbitmqctl`, which must succeed.
    pub(crate) fn control(&self, arguments: &[&str]) -> Output {
        let output = command(&format!("{BIN}/rabbitmqctl"))
            .envs(self.environment.iter().cloned())
            .current_dir(&self.directory)
            .arg("-q")
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        output
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let _ = self.epmd.kill();
        let _ = self.epmd.wait();
        // Its helper processes may still end.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
