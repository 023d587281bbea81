//! What each user is refused, by the server itself.

mod postgres;
mod rabbitmq;
mod redis;

pub use postgres::of_postgres;
pub use rabbitmq::{connect, of_rabbitmq};
pub use redis::of_redis;
