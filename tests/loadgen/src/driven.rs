//! What is driven: one call to one running server.

use anyhow::{Context as _, ensure};
use prost::Message;
use stack::{Service, sum_samples};

use crate::peer::Peer;
use crate::usage;

/// Who answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Server<'a> {
    /// One of ours, the echo included.
    Service(&'a Service),
    /// envoyproxy/ratelimit.
    Peer(&'a Peer),
}

/// One call to one running server.
pub(crate) struct Driven<'a> {
    pub(crate) name: &'static str,
    server: Server<'a>,
    /// `/package.Service/Method`
    method: &'static str,
    pub(crate) request: Vec<u8>,
}

/// What a server did and used up to some moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    /// Calls that it answered OK.
    pub(crate) succeeded: f64,
    /// Calls that it answered otherwise, of whatever method.
    pub(crate) failed: f64,
    /// Processor time.
    pub(crate) cpu_micros: f64,
}

impl Server<'_> {
    /// `http://127.0.0.1:PORT`
    pub(crate) fn grpc_url(self) -> String {
        match self {
            Self::Service(service) => service.grpc_url(),
            Self::Peer(peer) => peer.grpc_url(),
        }
    }

    fn pid(self) -> Option<u32> {
        match self {
            Self::Service(service) => service.pid(),
            Self::Peer(peer) => Some(peer.pid()),
        }
    }

    /// Calls of that method that it answered OK, and calls of any that it answered otherwise.
    async fn answered(self, method: &str) -> anyhow::Result<[f64; 2]> {
        match self {
            Self::Service(service) => {
                let metrics = service.metrics().await?;
                let of = |labels: &str| sum_samples(&metrics, &format!("grpc_requests_total{labels}"));
                Ok([of(&format!("{{method=\"{method}\",code=\"OK\"}}")), of("") - of("{code=\"OK\"}")])
            }
            Self::Peer(peer) => peer.answered().await,
        }
    }
}

impl<'a> Driven<'a> {
    pub(crate) fn new(
        name: &'static str,
        server: Server<'a>,
        method: &'static str,
        request: &impl Message,
    ) -> Self {
        Self { name, server, method, request: request.encode_to_vec() }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.server.grpc_url(), self.method)
    }

    /// The request as gRPC sends it: not compressed, its length, itself.
    pub(crate) fn framed_request(&self) -> Vec<u8> {
        let length = u32::try_from(self.request.len()).unwrap_or(u32::MAX).to_be_bytes();
        [&[0], &length[..], &self.request].concat()
    }

    pub(crate) async fn done(&self) -> anyhow::Result<Done> {
        let pid = self.server.pid().context("the server is gone")?;
        let [succeeded, failed] = self.server.answered(self.method).await?;
        Ok(Done { succeeded, failed, cpu_micros: usage::cpu_time(pid)?.as_secs_f64() * 1e6 })
    }
}

impl Done {
    /// What was done since `before`, in which a client has seen so many answers: HTTP calls all of them 200, so it is
    /// the service that must have meant each as a success.
    pub(crate) fn since(self, before: Self, answers: u64) -> anyhow::Result<Self> {
        let succeeded = self.succeeded - before.succeeded;
        let failed = self.failed - before.failed;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let seen = answers as f64;
        ensure!(failed == 0.0, "{failed} calls failed, as gRPC has it");
        ensure!(succeeded >= seen, "{seen} answers were seen, and only {succeeded} calls succeeded");
        Ok(Self { succeeded, failed, cpu_micros: self.cpu_micros - before.cpu_micros })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_to_be_successes() {
        let before = Done { succeeded: 10.0, failed: 1.0, cpu_micros: 5.0 };
        let after = Done { succeeded: 110.0, cpu_micros: 25.0, ..before };
        let done = after.since(before, 90).unwrap();
        assert_eq!((done.succeeded, done.cpu_micros), (100.0, 20.0));
        assert!(after.since(before, 101).is_err(), "more answers than successes");
        assert!(Done { failed: 2.0, ..after }.since(before, 90).is_err(), "a failure");
    }
}
