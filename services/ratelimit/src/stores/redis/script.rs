//! A script, run by its hash.

use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind, aio::ConnectionLike};

use super::batch::Arguments;

/// A script that a Redis which has forgotten it is given again.
pub(super) struct StoredScript(Script);

impl StoredScript {
    pub fn new(code: &str) -> Self {
        Self(Script::new(code))
    }

    pub async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        call: &Arguments,
    ) -> RedisResult<T> {
        let evalsha = self.evalsha(call);
        match evalsha.query_async(connection).await {
            Err(error) if is_forgotten(&error) => {
                self.0.load_async(connection).await?;
                evalsha.query_async(connection).await
            }
            answer => answer,
        }
    }

    fn evalsha(&self, Arguments { keys, args }: &Arguments) -> Cmd {
        let mut evalsha = redis::cmd("EVALSHA");
        evalsha.arg(self.0.get_hash()).arg(keys.len()).arg(keys).arg(args);
        evalsha
    }
}

fn is_forgotten(error: &RedisError) -> bool {
    error.kind() == ServerErrorKind::NoScript.into()
}
