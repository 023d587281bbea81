//! What counting views costs: the worker, the way from a read to its count, and reads themselves.

pub(crate) mod backlog;
pub(crate) mod counting;
pub(crate) mod freshness;
mod load;
pub(crate) mod outage;
mod pipeline;
mod popularity;
pub(crate) mod recording;
pub(crate) mod rig;
mod windows;
