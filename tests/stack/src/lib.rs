//! Real Postgres, Redis, RabbitMQ, Envoy and Prometheus servers, and our own services, as child processes.
//!
//! Most tests share one set of servers, started once for a whole test run by `stack exec -- CMD` and found
//! by [`shared`]; each takes a database, a virtual host and unique keys of its own there. A test that
//! kills, pauses or cuts off a server starts a private one: [`Postgres`], [`Redis`], [`RabbitMq`]. So does one
//! that needs several that belong together ([`RedisCluster`], [`RedisSentinel`]), or what stands around our services:
//! [`Envoy`], [`Prometheus`]. A [`Proxy`] is a bad network.
//! [`Service`] runs one of the workspace's own binaries, [`Product`] all of them together.
//!
//! Nothing outlives its owner: servers live in their own process groups and temporary folders, end with
//! the value that stands for them, and also when the test process itself is killed.

mod disk;
mod envoy;
mod http;
mod ports;
mod postgres;
mod process;
mod process_tree;
mod product;
mod programs;
mod prometheus;
mod proxy;
mod rabbitmq;
mod redis;
mod samples;
mod server;
mod service;
mod shared;
mod unique;
mod vhost;
mod wait;

pub use envoy::Envoy;
pub use http::{HttpAnswer, http_get, http_get_with};
pub use ports::Port;
pub use postgres::{Database, Postgres, PostgresOptions};
pub use process_tree::{kill_tree, terminate_tree};
pub use product::{Backends, Product, ProductBuilder};
pub use programs::binary;
pub use prometheus::{Prometheus, Sample, promtool};
pub use proxy::Proxy;
pub use rabbitmq::{RabbitMq, RabbitMqOptions};
pub use redis::{Redis, RedisCluster, RedisOptions, RedisPolicy, RedisSentinel};
pub use samples::sum_samples;
pub use service::{Service, ServiceBuilder, StartedWhen};
pub use shared::{
    AMQP_CONTROL_ADDR, AMQP_CONTROL_HOME, AMQP_URL, CACHE_REDIS_URL, COUNTERS_REDIS_URL, POSTGRES_URL,
    Shared, SharedServers, shared,
};
pub use unique::unique;
pub use vhost::Vhost;
pub use wait::{eventually, until};
