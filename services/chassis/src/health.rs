//! Follows a service's dependencies, and tells gRPC health and the admin endpoint what it can do.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, join_all};
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

/// How often each dependency is probed, and how long a probe may take.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// What a probe gives.
pub type ProbeResult = Result<(), Box<dyn Error + Send + Sync>>;

type Probe = Box<dyn Fn() -> BoxFuture<'static, ProbeResult> + Send + Sync>;

/// What a service does without a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Without it there is no first readiness; later its absence only degrades.
    ToStart,
    /// The service starts and works without it, if less well.
    Degrades,
}

/// The dependencies of a service, and which of its gRPC services live on which of them.
#[derive(Default)]
pub struct Health {
    dependencies: Vec<Dependency>,
    services: Vec<(&'static str, &'static [&'static str])>,
}

struct Dependency {
    name: &'static str,
    need: Need,
    probe: Probe,
}

impl Health {
    /// Nothing to follow: ready at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows a dependency by a probe that is run every second, for a second at most.
    #[must_use]
    pub fn dependency<F>(
        mut self,
        name: &'static str,
        need: Need,
        probe: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ProbeResult> + Send + 'static,
    {
        let probe: Probe = Box::new(move || Box::pin(probe()));
        self.dependencies.push(Dependency { name, need, probe });
        self
    }

    /// Reports a gRPC service SERVING while any of the named dependencies is up; always, if none is named. Unlike readiness
    /// this does not wait for what is needed to start: a service may be able to answer something before.
    #[must_use]
    pub fn service(mut self, name: &'static str, any_of: &'static [&'static str]) -> Self {
        self.services.push((name, any_of));
        self
    }

    /// The gRPC services that are reported.
    pub(crate) fn service_names(&self) -> impl Iterator<Item = &'static str> {
        self.services.iter().map(|(name, _)| *name)
    }

    /// Takes in what another part of the same process follows.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.dependencies.extend(other.dependencies);
        self.services.extend(other.services);
        self
    }
}

/// What is known of the dependencies now.
#[derive(Debug, Default, Clone)]
pub(crate) struct Report {
    /// It was able to do its work once, can do some of it now, and is not draining.
    pub(crate) ready: bool,
    /// What is down, and why.
    pub(crate) down: BTreeMap<&'static str, String>,
    was_ready: bool,
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was probed yet, so nothing is promised.
    #[default]
    Starting,
    /// What is not down is up.
    Probed,
    /// For good.
    Draining,
}

/// Keeps the [`Report`] and the gRPC health statuses up to date.
#[derive(Clone)]
pub(crate) struct Monitor {
    health: Arc<Health>,
    report: Arc<RwLock<Report>>,
    reporter: HealthReporter,
}

impl Monitor {
    pub(crate) fn new(health: Health, reporter: HealthReporter) -> Self {
        Self { health: Arc::new(health), report: Arc::default(), reporter }
    }

    pub(crate) fn report(&self) -> Report {
        self.report.read().clone()
    }

    /// Probes until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(PROBE_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            self.probe_once().await;
        }
    }

    /// Turns every service NOT_SERVING for good.
    pub(crate) async fn drain(&self) {
        {
            let mut report = self.report.write();
            report.phase = Phase::Draining;
            report.ready = false;
        }
        self.publish().await;
    }

    /// Ends the streams of those who watch, who would hold their connections open.
    pub(crate) async fn end_watches(&self) {
        let mut reporter = self.reporter.clone();
        let services = self.health.service_names().chain([""]);
        for service in services {
            reporter.clear_service_status(service).await;
        }
    }

    pub(crate) async fn probe_once(&self) {
        let down: BTreeMap<_, _> = join_all(self.health.dependencies.iter().map(Dependency::probe))
            .await
            .into_iter()
            .flatten()
            .collect();
        self.log_changes(&down);
        let serving = self.health.services.is_empty()
            || self.health.services.iter().any(|(_, any_of)| is_up(any_of, &down));
        let missing = |d: &Dependency| d.need == Need::ToStart && down.contains_key(d.name);
        let startable = !self.health.dependencies.iter().any(missing);
        {
            let mut report = self.report.write();
            report.was_ready |= startable;
            if report.phase == Phase::Starting {
                report.phase = Phase::Probed;
            }
            report.ready = report.was_ready && serving && report.phase == Phase::Probed;
            report.down = down;
        }
        self.publish().await;
    }

    fn log_changes(&self, down: &BTreeMap<&'static str, String>) {
        let known = self.report();
        for Dependency { name, .. } in &self.health.dependencies {
            metrics::gauge!("dependency_up", "dependency" => *name).set(u8::from(!down.contains_key(name)));
            match (known.down.get(name), down.get(name)) {
                (None, Some(error)) => tracing::warn!(dependency = name, error, "a dependency is down"),
                (Some(_), None) => tracing::info!(dependency = name, "a dependency is back"),
                _ => {}
            }
        }
    }

    /// Tells gRPC health what the report says.
    pub(crate) async fn publish(&self) {
        let report = self.report();
        for (service, any_of) in &self.health.services {
            let serving = report.phase == Phase::Probed && is_up(any_of, &report.down);
            self.reporter.set_service_status(service, status(serving)).await;
        }
        self.reporter.set_service_status("", status(report.ready)).await;
    }
}

impl Dependency {
    async fn probe(&self) -> Option<(&'static str, String)> {
        match tokio::time::timeout(PROBE_INTERVAL, (self.probe)()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some((self.name, error.to_string())),
            Err(_) => Some((self.name, "no answer within a second".to_owned())),
        }
    }
}

fn is_up(any_of: &[&'static str], down: &BTreeMap<&'static str, String>) -> bool {
    any_of.is_empty() || any_of.iter().any(|name| !down.contains_key(name))
}

fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn switch(up: &Arc<AtomicBool>) -> impl Fn() -> BoxFuture<'static, ProbeResult> + Send + Sync + 'static {
        let up = up.clone();
        move || {
            let up = up.load(Ordering::SeqCst);
            Box::pin(async move { if up { Ok(()) } else { Err("connection refused".into()) } })
        }
    }

    #[tokio::test]
    async fn ready_once_it_could_work_and_while_it_can_do_anything() {
        let [store, cache] = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true))];
        let health = Health::new()
            .dependency("store", Need::ToStart, switch(&store))
            .dependency("cache", Need::Degrades, switch(&cache))
            .service("s", &["store", "cache"]);
        let monitor = Monitor::new(health, HealthReporter::new());

        monitor.probe_once().await;
        assert!(!monitor.report().ready);
        assert_eq!(monitor.report().down["store"], "connection refused");

        store.store(true, Ordering::SeqCst);
        monitor.probe_once().await;
        assert!(monitor.report().ready);

        store.store(false, Ordering::SeqCst);
        monitor.probe_once().await;
        assert!(monitor.report().ready, "cached reads still work");

        cache.store(false, Ordering::SeqCst);
        monitor.probe_once().await;
        assert!(!monitor.report().ready);

        store.store(true, Ordering::SeqCst);
        monitor.probe_once().await;
        monitor.drain().await;
        monitor.probe_once().await;
        assert!(!monitor.report().ready, "a draining service does not come back");
    }
}
