//! Serving an app: listeners, threads, the admin endpoint, and the order of stopping.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Background, Health, admin,
    background::TaskDied,
    call::{self, Calls},
    config::ServerConfig,
    health::Monitor,
    infrastructure,
    routes::Routes,
    socket, status, telemetry,
    workers::Workers,
};

/// From the last accepted connection to the end of them all: one that has not yet said which version of HTTP it speaks
/// can't be told to go away, and would be cut.
const PREFACE_PAUSE: Duration = Duration::from_millis(100);

/// Longest that the admin endpoint takes to answer its last request.
const ADMIN_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A service, ready to be served.
pub struct App {
    /// `ErrorInfo.domain` of its errors.
    pub error_domain: &'static str,
    /// Its gRPC services and HTTP routes. Health and reflection are added.
    pub routes: Routes,
    /// What it depends on.
    pub health: Health,
    /// What it runs beside its calls; stopped once the last call has been answered.
    pub background: Background,
}

/// Serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address could not be bound.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, io::Error),
    /// Reflection refused the contracts.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A thread or a runtime could not be made, or a listener died.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What runs in the background has to run for as long as the service.
    #[error(transparent)]
    Background(#[from] TaskDied),
}

/// The bound addresses of a service that is not serving yet.
pub struct Bound {
    config: ServerConfig,
    listener: TcpListener,
    admin: TcpListener,
}

impl Bound {
    /// Binds the service's and the admin address.
    ///
    /// # Errors
    /// [`ServeError::Bind`] names the address.
    pub async fn bind(config: ServerConfig) -> Result<Self, ServeError> {
        let listener = bind(config.listen_addr, &config).await?;
        let admin = bind(config.admin_addr, &config).await?;
        Ok(Self { config, listener, admin })
    }

    /// The address of the gRPC server, with the port that a port of 0 became.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn listen_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled, or what it needs dies; then turns NOT_SERVING, drains, and stops the background
    /// tasks, all within the drain timeout.
    ///
    /// # Errors
    /// When it could not start, or a listener or a background task died.
    pub async fn run(self, app: App, stop: CancellationToken) -> Result<(), ServeError> {
        status::set_domain(app.error_domain);
        let Self { config, listener, admin } = self;
        let (reporter, infrastructure) = infrastructure::routes(app.health.service_names())?;
        let routes = app.routes.merge(infrastructure);
        let monitor = Monitor::new(app.health, reporter);
        // Before the first probe nothing is known, and nothing is promised.
        monitor.publish().await;
        tracing::info!(grpc = %listener.local_addr()?, admin = %admin.local_addr()?, "serving");
        let chores = start_chores(&monitor, admin, &config)?;
        let calls = Calls::new(&config);
        let server = call::conducted(calls.clone(), routes);
        let workers = Workers::start("server", config.server_threads, &config, &server)?;
        let running = Running { calls, workers, monitor, background: app.background, chores };
        running.run(listener, stop, &config).await
    }
}

/// A service that is being served.
struct Running {
    calls: Arc<Calls>,
    workers: Workers,
    monitor: Monitor,
    background: Background,
    chores: Background,
}

impl Running {
    async fn run(
        mut self,
        listener: TcpListener,
        stop: CancellationToken,
        config: &ServerConfig,
    ) -> Result<(), ServeError> {
        let served = tokio::select! {
            dealt = self.workers.deal(&listener) => dealt.map_err(ServeError::from),
            died = self.background.died() => Err(died.into()),
            died = self.chores.died() => Err(died.into()),
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = &served {
            tracing::error!(%error, "stopping, as the service can't go on");
        }
        self.drain(listener, config).await;
        tracing::info!("stopped");
        served
    }

    async fn drain(self, listener: TcpListener, config: &ServerConfig) {
        let deadline = Instant::now() + config.drain_timeout;
        self.monitor.drain().await;
        self.workers.deal_last(listener);
        tokio::time::sleep(PREFACE_PAUSE).await;
        self.calls.end_streams();
        self.monitor.end_watches().await;
        self.workers.drain(deadline - config.background_timeout()).await;
        self.background.stop(deadline.saturating_duration_since(Instant::now())).await;
        // Last: while it drains, too, a service tells that it lives and takes no more calls.
        self.chores.stop(2 * ADMIN_DRAIN_TIMEOUT).await;
    }
}

/// What every service does beside its own work.
fn start_chores(monitor: &Monitor, admin: TcpListener, config: &ServerConfig) -> io::Result<Background> {
    let mut chores = Background::default();
    chores.start("metrics upkeep", upkeep);
    let probing = monitor.clone();
    chores.start("dependency probes", |stop| probing.run(stop));
    let endpoint = Workers::start("admin", 1, config, &admin::router(monitor.clone()))?;
    chores.start("admin endpoint", |stop| endpoint.serve(admin, stop, ADMIN_DRAIN_TIMEOUT));
    Ok(chores)
}

async fn bind(addr: SocketAddr, config: &ServerConfig) -> Result<TcpListener, ServeError> {
    let bind = async {
        let listener = TcpListener::bind(addr).await?;
        socket::give_up_silent_peers(&listener, config)?;
        Ok(listener)
    };
    bind.await.map_err(|error| ServeError::Bind(addr, error))
}

async fn upkeep(stop: CancellationToken) {
    let mut interval = tokio::time::interval(Duration::from_secs(5));
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        telemetry::upkeep_metrics();
    }
}
