//! What a view batch is, once it has been found well-formed, and how batches add up.

mod batch;
pub mod batch_id;
mod tally;

pub use batch::{Batch, COUNTS_MAX, Malformed, SNIPPET_ID_BYTES_MAX};
pub use tally::Tally;
