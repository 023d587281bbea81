//! A script, run by its hash.

use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind};

use super::{batch::Arguments, connection::Connections};

/// A script that a Redis which has forgotten it is given again.
pub(super) struct StoredScript {
    hash: String,
    code: &'static str,
}

impl StoredScript {
    pub fn new(code: &'static str) -> Self {
        Self { hash: Script::new(code).get_hash().to_owned(), code }
    }

    pub async fn run<T: FromRedisValue>(&self, redis: &Connections, call: &Arguments) -> RedisResult<T> {
        let evalsha = self.evalsha(call);
        match redis.query(&evalsha).await {
            Err(error) if is_forgotten(&error) => {
                let load = redis::cmd("SCRIPT").arg("LOAD").arg(self.code).to_owned();
                redis.query_beside::<String>(&evalsha, &load).await?;
                redis.query(&evalsha).await
            }
            answer => answer,
        }
    }

    fn evalsha(&self, Arguments { keys, args }: &Arguments) -> Cmd {
        let mut evalsha = redis::cmd("EVALSHA");
        evalsha.arg(&self.hash).arg(keys.len()).arg(keys).arg(args);
        evalsha
    }
}

fn is_forgotten(error: &RedisError) -> bool {
    error.kind() == ServerErrorKind::NoScript.into()
}
