//! What every service does the same way, and never a business rule: configuration, telemetry, health, the admin
//! endpoint, serving, draining, and the conduct of a call.
//!
//! A service's `main` parses its flags, builds an [`App`], and hands it to [`serve_until_signal`]; everything it
//! runs in the background belongs to the app's [`Background`], which is stopped and joined there.

pub mod accept;
mod admin;
mod answer;
pub mod background;
pub mod call;
mod call_span;
pub mod client;
pub mod config;
mod connections;
mod cork;
pub mod deadline;
mod face;
pub mod health;
pub mod healthcheck;
pub mod http_error;
mod infrastructure;
mod log_gate;
mod main_loop;
mod method_metrics;
mod overdue;
pub mod propagation;
mod request_stream;
mod room;
mod routes;
mod serve;
mod socket;
pub mod status;
pub mod telemetry;
mod workers;

pub use background::{Background, TaskDied};
pub use face::is_grpc;
pub use health::{Health, Need};
pub use log_gate::LogGate;
pub use main_loop::{run_to_completion, serve_until_signal};
pub use routes::Routes;
pub use serve::{App, Bound, ServeError};
