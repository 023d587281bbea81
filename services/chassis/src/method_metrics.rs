//! Requests and their durations by gRPC method and code.

use std::{collections::HashMap, sync::OnceLock, time::Duration};

use metrics::{Counter, Histogram};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;

/// The metrics of every method in `rpc`'s contracts. A path that is none of them is counted as `unknown`, and
/// plain HTTP as `http`, so that no client can add labels.
pub(crate) struct MethodMetrics {
    methods: HashMap<&'static str, Method>,
    unknown: Method,
    http: Method,
}

/// The metrics of one method.
pub(crate) struct Method {
    path: &'static str,
    is_stream: bool,
    seconds: Histogram,
    requests: [OnceLock<Counter>; 17],
}

impl MethodMetrics {
    pub(crate) fn new() -> Self {
        let known = known_methods().iter();
        let methods = known.map(|(path, is_stream)| (path.as_str(), Method::new(path, *is_stream))).collect();
        Self { methods, unknown: Method::new("unknown", false), http: Method::new("http", false) }
    }

    /// All requests that are not calls of gRPC; their errors have codes of gRPC, too.
    pub(crate) fn http(&self) -> &Method {
        &self.http
    }

    pub(crate) fn method(&self, path: &str) -> &Method {
        self.methods.get(path).unwrap_or(&self.unknown)
    }
}

impl Method {
    fn new(path: &'static str, is_stream: bool) -> Self {
        let seconds = metrics::histogram!("grpc_request_seconds", "method" => path);
        Self { path, is_stream, seconds, requests: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// The method's path, or `unknown`.
    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    /// Whether its answer is a stream, which may go on for ever.
    pub(crate) fn is_stream(&self) -> bool {
        self.is_stream
    }

    pub(crate) fn record(&self, code: Code, elapsed: Duration) {
        self.seconds.record(elapsed);
        let Some(counter) = self.requests.get(code as usize) else { return };
        counter.get_or_init(|| requests(self.path, code)).increment(1);
    }
}

fn requests(path: &'static str, code: Code) -> Counter {
    metrics::counter!("grpc_requests_total", "method" => path, "code" => crate::status::reason(code))
}

/// `/package.Service/Method` of every contract, and whether it streams its answer; collected once, as label values live as
/// long as the process.
fn known_methods() -> &'static HashMap<String, bool> {
    static METHODS: OnceLock<HashMap<String, bool>> = OnceLock::new();
    METHODS.get_or_init(|| {
        let sets = [
            rpc::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        sets.into_iter().flat_map(methods).collect()
    })
}

fn methods(encoded: &[u8]) -> Vec<(String, bool)> {
    let set = FileDescriptorSet::decode(encoded).unwrap_or_default();
    let mut methods = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                methods.push((path, method.server_streaming()));
            }
        }
    }
    methods
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
        let streams = ["/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check", "/made.Up/Method"];
        assert_eq!(streams.map(|path| metrics.method(path).is_stream()), [true, false, false]);
    }
}
