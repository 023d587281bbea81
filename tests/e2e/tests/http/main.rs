//! The HTTP face: what curl, programs, caches and browsers see.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod browser;
mod reading;
mod sharing;
mod web;
