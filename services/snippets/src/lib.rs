//! The snippets service: the public API, its cache, and the counting of views.

pub mod adapters;
pub mod cached;
pub mod cached_accounts;
pub mod config;
pub mod domain;
pub mod grpc;
mod http;
mod lasting;
pub mod near;
pub mod ports;
pub mod startup;
mod sweeper;
pub mod views;
