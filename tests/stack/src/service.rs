//! One of our own binaries as a child process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Context;

use crate::http::http_get;
use crate::ports::Port;
use crate::programs::{clean_command, run};
use crate::samples::sum_samples;
use crate::server::{Server, probe, temp_dir};

/// When a service counts as started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartedWhen {
    /// `/readyz` is 200: it can do its work.
    #[default]
    Ready,
    /// `/livez` is 200: the process runs, its dependencies may be away.
    Live,
}

impl StartedWhen {
    fn path(self) -> &'static str {
        match self {
            Self::Ready => "/readyz",
            Self::Live => "/livez",
        }
    }
}

/// What to start, and how.
#[derive(Debug)]
pub struct ServiceBuilder {
    name: String,
    command: Command,
    grpc: Option<Port>,
    admin: Option<Port>,
    started_when: StartedWhen,
}

impl ServiceBuilder {
    /// Adds an environment variable; besides these the service gets `LISTEN_ADDR`, `ADMIN_ADDR` and, from
    /// this process, only the likes of `PATH` and `RUST_LOG`.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.command.env(name, value.as_ref());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<str>) -> Self {
        self.command.arg(argument.as_ref());
        self
    }

    /// Sets the ports instead of taking free ones.
    #[must_use]
    pub fn ports(mut self, grpc: Port, admin: Port) -> Self {
        self.grpc = Some(grpc);
        self.admin = Some(admin);
        self
    }

    /// What [`start`](Self::start) and each restart wait for; `/readyz` by default.
    #[must_use]
    pub fn started_when(mut self, started_when: StartedWhen) -> Self {
        self.started_when = started_when;
        self
    }

    /// Starts the service and waits until it is ready, or live.
    pub async fn start(mut self) -> anyhow::Result<Service> {
        let grpc = self.grpc.map_or_else(Port::free, Ok)?;
        let admin = self.admin.map_or_else(Port::free, Ok)?;
        self.command.env("LISTEN_ADDR", grpc.addr().to_string());
        self.command.env("ADMIN_ADDR", admin.addr().to_string());
        let (addr, path) = (admin.addr(), self.started_when.path());
        let probe = probe(move || async move { http_get(addr, path).await.is_ok_and(|it| it.status == 200) });
        let server = Server::start(&self.name, temp_dir(&self.name)?, self.command, probe).await?;
        Ok(Service { server, grpc, admin })
    }

    /// Runs a subcommand that ends by itself, such as `migrate`, and gives its standard output.
    pub async fn run(mut self, subcommand: &str) -> anyhow::Result<String> {
        self.command.arg(subcommand);
        run(self.command).await.with_context(|| format!("`{} {subcommand}` failed", self.name))
    }
}

/// A running service; ends when dropped.
#[derive(Debug)]
pub struct Service {
    server: Server,
    grpc: Port,
    admin: Port,
}

impl Service {
    /// Begins to describe a service; `name` is used in messages, `program` is usually from
    /// [`binary`](crate::binary).
    pub fn builder(name: &str, program: PathBuf) -> ServiceBuilder {
        ServiceBuilder {
            name: name.to_owned(),
            command: clean_command(program),
            grpc: None,
            admin: None,
            started_when: StartedWhen::default(),
        }
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        self.server.name()
    }

    /// `http://127.0.0.1:PORT`
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc.addr())
    }

    /// The address of its gRPC port.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc.addr()
    }

    /// The address of its admin port.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// Its process id; None while it is killed.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Everything it has written to standard output and error, over all its runs.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        Ok(http_get(self.admin_addr(), "/metrics").await?.body)
    }

    /// The sum of the samples that `selector` matches; 0 if there are none. A selector is a metric's name,
    /// optionally with labels that must be among the sample's: `calls_total{code="ok"}`.
    pub async fn metric(&self, selector: &str) -> anyhow::Result<f64> {
        Ok(sum_samples(&self.metrics().await?, selector))
    }

    /// Ends it with SIGKILL; returns when it is gone.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.server.resume();
    }

    /// Sends SIGHUP, which services that can be told something anew take as the word to look.
    pub fn hang_up(&self) {
        self.server.hang_up();
    }

    /// Starts it again on the same ports, killing it first if it runs, and waits as the first start did.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.server.restart().await
    }

    /// Sends SIGTERM and gives the exit status; when it is not gone in time it is killed, and this fails.
    pub async fn terminate(&self, within: Duration) -> anyhow::Result<ExitStatus> {
        self.server.terminate(within).await
    }
}
