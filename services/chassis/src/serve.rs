//! Serving an app: listeners, health, reflection, admin endpoint, and the order of stopping.

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, middleware};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    Background, Health, admin,
    call::{self, Calls},
    config::ServerConfig,
    health::Monitor,
    status, telemetry,
    workers::Workers,
};

/// What every service serves beside its own.
const INFRASTRUCTURE: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

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
    pub routes: Router,
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
        let listener = bind(config.listen_addr).await?;
        let admin = bind(config.admin_addr).await?;
        Ok(Self { config, listener, admin })
    }

    /// The address of the gRPC server, with the port that a port of 0 became.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn listen_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled; then turns NOT_SERVING, drains, and stops the background tasks, all
    /// within the drain timeout.
    ///
    /// # Errors
    /// When it could not start, or a listener died.
    pub async fn run(self, app: App, stop: CancellationToken) -> Result<(), ServeError> {
        status::set_domain(app.error_domain);
        let (reporter, health_server) = tonic_health::server::health_reporter();
        let infrastructure = with_reflection(Routes::new(health_server), app.health.service_names())?;
        let routes = infrastructure.into_axum_router().merge(app.routes.reset_fallback());
        let routes = routes.layer(middleware::from_fn_with_state(Calls::new(&self.config), call::conduct));
        let monitor = Monitor::new(app.health, reporter);
        // Before the first probe nothing is known, and nothing is promised.
        monitor.publish().await;
        tracing::info!(grpc = %self.listen_addr()?, admin = %self.admin.local_addr()?, "serving");
        let chores = start_chores(&monitor, self.admin, &self.config)?;
        let workers = Workers::start("server", self.config.server_threads, &self.config, &routes)?;

        let served = tokio::select! {
            served = workers.deal(self.listener) => served,
            () = stop.cancelled() => Ok(()),
        };
        let deadline = Instant::now() + self.config.drain_timeout;
        monitor.drain().await;
        tokio::time::sleep(PREFACE_PAUSE).await;
        tokio::join!(workers.drain(deadline), monitor.end_watches());
        app.background.stop(deadline.saturating_duration_since(Instant::now())).await;
        // Last: while it drains, too, a service tells that it lives and takes no more calls.
        chores.stop(2 * ADMIN_DRAIN_TIMEOUT).await;
        tracing::info!("stopped");
        Ok(served?)
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

async fn bind(addr: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(addr).await.map_err(|error| ServeError::Bind(addr, error))
}

/// Lists only what this process serves: the descriptors are those of every service.
fn with_reflection<'a>(
    routes: Routes,
    served: impl Iterator<Item = &'a str>,
) -> Result<Routes, tonic_reflection::server::Error> {
    let served: Vec<&str> = INFRASTRUCTURE.into_iter().chain(served).collect();
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(rpc::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that clients such as grpcurl can print the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        served.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    Ok(routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}

async fn upkeep(stop: CancellationToken) {
    let mut interval = tokio::time::interval(Duration::from_secs(5));
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        telemetry::upkeep_metrics();
    }
}
