//! A private RabbitMQ broker, with an Erlang port mapper of its own.

use std::env;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ports::Port;
use crate::programs::{clean_command, installed};
use crate::server::{Server, probe, temp_dir};
use crate::unique::random;
use crate::vhost::{Control, Vhost};

/// The broker's one user, with all permissions on every virtual host.
pub(crate) const USER: &str = "stack";
const MEMORY_LIMIT: &str = "1GB";

/// The program to start instead of the installed `rabbitmq-server`, such as one of another version, by its path.
const PROGRAM: &str = "STACK_RABBITMQ_SERVER";

/// How a RabbitMQ broker is run.
#[derive(Debug, Default)]
pub struct RabbitMqOptions {
    /// Further lines of its `rabbitmq.conf`. They win over the settings that it has anyway.
    pub settings: String,
}

/// A RabbitMQ broker in a folder of its own; ends when dropped.
#[derive(Debug)]
pub struct RabbitMq {
    url: String,
    control: Control,
    broker: Server,
    // After the broker, which talks to it until its end.
    _port_mapper: Server,
    _ports: Ports,
}

impl RabbitMq {
    /// Starts a broker with default options.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(RabbitMqOptions::default()).await
    }

    /// Starts a broker on a free port.
    pub async fn start_with(options: RabbitMqOptions) -> anyhow::Result<Self> {
        let ports = Ports::claim()?;
        let port_mapper = start_port_mapper(&ports.mapper).await?;
        let dir = temp_dir("rabbitmq")?;
        let password = format!("{:016x}", random());
        write_configuration(dir.path(), &password, &options.settings)?;
        let control =
            Control { addr: ports.distribution.addr().to_string(), home: dir.path().display().to_string() };

        let addr = ports.amqp.addr();
        let probe = probe(move || async move { offers_amqp(addr).await.unwrap_or(false) });
        let command = command(dir.path(), &ports)?;
        let broker = Server::start("rabbitmq", dir, command, probe).await?;
        let url = format!("amqp://{USER}:{password}@{addr}/%2f");
        Ok(Self { url, control, broker, _port_mapper: port_mapper, _ports: ports })
    }

    /// The URL of the default virtual host, `/`. Where `load_definitions` is among the settings there is neither that
    /// nor the default user, and only the address is of use.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates a fresh virtual host.
    pub async fn vhost(&self) -> anyhow::Result<Vhost> {
        Vhost::create(&self.url, &self.control).await
    }

    /// Ends the broker with SIGKILL; returns when it is gone.
    pub fn kill(&self) {
        self.broker.kill();
    }

    /// Freezes the broker: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.broker.pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.broker.resume();
    }

    /// Starts the broker again, killing it first if it runs: same port, same data.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.broker.restart().await
    }

    /// Raises the broker's alarm about memory: it takes nothing more from publishers, and tells those who try.
    pub async fn block_publishers(&self) -> anyhow::Result<()> {
        self.control.set_memory_limit("0.0").await
    }

    /// Ends a [`block_publishers`](Self::block_publishers).
    pub async fn unblock_publishers(&self) -> anyhow::Result<()> {
        self.control.set_memory_limit(&format!("{{absolute, \"{MEMORY_LIMIT}\"}}")).await
    }

    /// What the broker has logged.
    pub fn log(&self) -> String {
        self.broker.log()
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }
}

#[derive(Debug)]
struct Ports {
    amqp: Port,
    distribution: Port,
    mapper: Port,
}

impl Ports {
    fn claim() -> anyhow::Result<Self> {
        Ok(Self { amqp: Port::free()?, distribution: Port::free()?, mapper: Port::free()? })
    }
}

/// The port mapper that Erlang would start by itself is a daemon which outlives the broker; hence ours.
async fn start_port_mapper(port: &Port) -> anyhow::Result<Server> {
    let mut command = clean_command(installed("epmd", &["/usr/lib/erlang/*/bin"])?);
    command.args(["-address", "127.0.0.1", "-port", &port.number().to_string()]);
    let addr = port.addr();
    let probe = probe(move || async move { TcpStream::connect(addr).await.is_ok() });
    Server::start("epmd", temp_dir("epmd")?, command, probe).await
}

fn write_configuration(dir: &Path, password: &str, further: &str) -> anyhow::Result<()> {
    let settings = format!(
        "default_user = {USER}\n\
         default_pass = {password}\n\
         disk_free_limit.absolute = 1MB\n\
         vm_memory_high_watermark.absolute = {MEMORY_LIMIT}\n\
         raft.wal_max_size_bytes = 67108864\n\
         {further}"
    );
    fs::write(dir.join("rabbitmq.conf"), settings)?;
    fs::write(dir.join("rabbitmq-env.conf"), "")?;
    fs::write(dir.join("enabled_plugins"), "[].\n")?;
    let cookie = dir.join(".erlang.cookie");
    fs::write(&cookie, format!("{:016x}", random()))?;
    // Erlang refuses a cookie that others could read.
    fs::set_permissions(cookie, Permissions::from_mode(0o400))?;
    Ok(())
}

fn command(dir: &Path, ports: &Ports) -> anyhow::Result<Command> {
    let program = match env::var_os(PROGRAM) {
        Some(path) => path.into(),
        None => installed("rabbitmq-server", &["/usr/lib/rabbitmq/bin"])?,
    };
    let mut command = clean_command(program);
    let amqp = ports.amqp.number();
    command
        .env("HOME", dir)
        .env("RABBITMQ_NODENAME", format!("stack-{amqp}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", amqp.to_string())
        .env("RABBITMQ_DIST_PORT", ports.distribution.number().to_string())
        .env("ERL_EPMD_PORT", ports.mapper.number().to_string())
        .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", dir.join("logs"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("advanced.config"))
        .env("RABBITMQ_CONF_ENV_FILE", dir.join("rabbitmq-env.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
        .env("RABBITMQ_GENERATED_CONFIG_DIR", dir.join("config"))
        // Together they make the start script `exec` the broker instead of waiting beside it.
        .env("RABBITMQ_ALLOW_INPUT", "1")
        .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
        // Schedulers that sleep when idle leave the cores to the tests: 3.4 s to start instead of 4.7 s.
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
        );
    Ok(command)
}

/// The broker listens last of all, and greets a client with a method frame (type 1) on channel 0.
async fn offers_amqp(addr: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    let mut frame = [0; 3];
    stream.read_exact(&mut frame).await?;
    Ok(frame == [1, 0, 0])
}
