//! What the end-to-end tests share: a product of their own, clients in the name of any caller, and what they demand
//! of every error.

mod client;
mod errors;
mod product;

pub use client::{Client, Credentials, NewKey, RawCall, Recognized};
pub use errors::{Visible, assert_explained, violated_fields, visible};
pub use product::{ADMIN_KEY, PATIENCE, backends, product, service, service_of, shared_product, until_views};
