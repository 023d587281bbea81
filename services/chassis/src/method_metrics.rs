//! Requests and their durations by gRPC method and code.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics::{Counter, Histogram};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;

/// The metrics of every method in `rpc`'s contracts. A path that is none of them is counted as `unknown`, so that
/// no client can add labels.
pub(crate) struct MethodMetrics {
    methods: HashMap<&'static str, Method>,
    unknown: Method,
}

/// The metrics of one method.
#[derive(Clone)]
pub(crate) struct Method(Arc<MethodState>);

struct MethodState {
    path: &'static str,
    seconds: Histogram,
    requests: [OnceLock<Counter>; 17],
}

impl MethodMetrics {
    pub(crate) fn new() -> Self {
        let methods = known_paths().iter().map(|path| (path.as_str(), Method::new(path))).collect();
        Self { methods, unknown: Method::new("unknown") }
    }

    pub(crate) fn method(&self, path: &str) -> Method {
        self.methods.get(path).unwrap_or(&self.unknown).clone()
    }
}

impl Method {
    fn new(path: &'static str) -> Self {
        let seconds = metrics::histogram!("grpc_request_seconds", "method" => path);
        Self(Arc::new(MethodState { path, seconds, requests: std::array::from_fn(|_| OnceLock::new()) }))
    }

    /// The method's path, or `unknown`.
    pub(crate) fn path(&self) -> &'static str {
        self.0.path
    }

    pub(crate) fn record(&self, code: Code, elapsed: Duration) {
        self.0.seconds.record(elapsed);
        let Some(counter) = self.0.requests.get(code as usize) else { return };
        counter.get_or_init(|| requests(self.0.path, code)).increment(1);
    }
}

fn requests(path: &'static str, code: Code) -> Counter {
    metrics::counter!("grpc_requests_total", "method" => path, "code" => crate::status::reason(code))
}

/// `/package.Service/Method` of every contract; collected once, as label values live as long as the process.
fn known_paths() -> &'static HashSet<String> {
    static PATHS: OnceLock<HashSet<String>> = OnceLock::new();
    PATHS.get_or_init(|| {
        let sets = [
            rpc::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        sets.into_iter().flat_map(paths).collect()
    })
}

fn paths(encoded: &[u8]) -> Vec<String> {
    let set = FileDescriptorSet::decode(encoded).unwrap_or_default();
    let mut paths = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                paths.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_contracts_and_nothing_else() {
        let metrics = MethodMetrics::new();
        for path in ["/snippets.v1.SnippetService/GetSnippet", "/grpc.health.v1.Health/Check"] {
            assert_eq!(metrics.method(path).path(), path);
        }
        assert_eq!(metrics.method("/made.Up/Method").path(), "unknown");
    }
}
