//! The rate limiter without its I/O: which limits a request falls under, and whether they let it pass.
//!
//! [`rules`] reads the rules and matches descriptors against them. [`algorithm`] counts: pure functions of state, cost
//! and time. [`charge`] puts several limits together, all or nothing. What keeps the state, and where the time comes
//! from, is up to the stores of the service around it.

pub mod algorithm;
pub mod charge;
pub mod heavy_hitters;
pub mod rules;

pub use algorithm::{Algorithm, Decision, Hit, Kind, State};
pub use charge::{Charge, Charged, charge_all};
pub use heavy_hitters::HeavyHitters;
pub use rules::{Domain, OnError, Policy, Rule, RuleSet};
