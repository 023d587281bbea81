//! The generated code of every contract in `proto/`, and their file descriptor set. No logic lives here.

// The doc comments are those of the protos, whose items need none to be understood.
#![allow(missing_docs, clippy::pedantic)]

/// The encoded `google.protobuf.FileDescriptorSet` of all contracts, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// `snippets.v1`: the public API.
pub mod snippets {
    pub mod v1 {
        tonic::include_proto!("snippets.v1");
    }
}

/// `ratelimit.v1`: the limiter's own API.
pub mod ratelimit {
    pub mod v1 {
        tonic::include_proto!("ratelimit.v1");
    }
}

/// `views.v1`: what travels through RabbitMQ.
pub mod views {
    pub mod v1 {
        tonic::include_proto!("views.v1");
    }
}

/// `envoy.*`: Envoy's rate limit protocol.
pub mod envoy {
    pub mod service {
        pub mod ratelimit {
            pub mod v3 {
                tonic::include_proto!("envoy.service.ratelimit.v3");
            }
        }
    }
    pub mod extensions {
        pub mod common {
            pub mod ratelimit {
                pub mod v3 {
                    tonic::include_proto!("envoy.extensions.common.ratelimit.v3");
                }
            }
        }
    }
    pub mod config {
        pub mod core {
            pub mod v3 {
                tonic::include_proto!("envoy.config.core.v3");
            }
        }
    }
    pub mod r#type {
        pub mod v3 {
            tonic::include_proto!("envoy.r#type.v3");
        }
    }
}
