//! The two ways in which a server is away: gone, and there but silent.

use stack::{Postgres, RabbitMq, Redis, Service};

/// How a server is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// SIGKILL: connections end, new ones are refused.
    Killed,
    /// SIGSTOP: connections stay open, and new ones open, but nothing is answered.
    Paused,
}

/// What can be killed, paused and brought back.
pub trait Faulty {
    /// SIGKILL.
    fn kill(&self);
    /// SIGSTOP.
    fn pause(&self);
    /// SIGCONT.
    fn resume(&self);
    /// Starts it again, with the same data.
    fn restart(&self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Outage {
    /// Both, one after the other.
    pub const ALL: [Self; 2] = [Self::Killed, Self::Paused];

    /// Takes the server away.
    pub fn begin(self, server: &impl Faulty) {
        match self {
            Self::Killed => server.kill(),
            Self::Paused => server.pause(),
        }
    }

    /// Brings it back.
    pub async fn end(self, server: &(impl Faulty + Sync)) -> anyhow::Result<()> {
        match self {
            Self::Killed => server.restart().await,
            Self::Paused => {
                server.resume();
                Ok(())
            }
        }
    }
}

macro_rules! faulty {
    ($($server:ty),*) => {$(
        impl Faulty for $server {
            fn kill(&self) {
                <$server>::kill(self);
            }
            fn pause(&self) {
                <$server>::pause(self);
            }
            fn resume(&self) {
                <$server>::resume(self);
            }
            fn restart(&self) -> impl Future<Output = anyhow::Result<()>> + Send {
                <$server>::restart(self)
            }
        }
    )*};
}

faulty!(Postgres, RabbitMq, Redis, Service);
