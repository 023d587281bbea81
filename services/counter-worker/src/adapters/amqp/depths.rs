//! How long RabbitMQ's queues are.

use std::time::Duration;

use broker::{BrokerConnection, BrokerError, Supervisor, bounded, topology};
use secrecy::SecretString;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::instruments;

/// How the connection is called in the broker's tools.
const CONNECTION_NAME: &str = "counter-worker queue depths";
const INTERVAL: Duration = Duration::from_secs(10);
const QUEUES: [&str; 2] = [topology::BATCHES_QUEUE, topology::DEAD_QUEUE];

/// Asks every ten seconds how many messages wait in the queues, for the metrics.
///
/// On a connection of its own: to ask for a queue that is not there is an error that ends its channel, of which lapin tells
/// everybody on the connection.
pub struct QueueDepths {
    url: SecretString,
    interval: Duration,
}

impl QueueDepths {
    /// Of the broker at `url`. Nothing is connected yet.
    pub fn new(url: SecretString) -> Self {
        Self { url, interval: INTERVAL }
    }

    /// Asks until `stop` is cancelled, over as many connections as it takes.
    pub async fn run(self, stop: CancellationToken) {
        let mut supervisor = Supervisor::new("queue depths");
        while !stop.is_cancelled() {
            let ended = self.session(&mut supervisor, &stop).await;
            QUEUES.into_iter().for_each(instruments::queue_depth_unknown);
            if let Err(error) = ended {
                supervisor.pause(&error, &stop).await;
            }
        }
    }

    async fn session(
        &self,
        supervisor: &mut Supervisor,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let opening = BrokerConnection::open(&self.url, CONNECTION_NAME);
        let Some(opened) = stop.run_until_cancelled(opening).await else {
            return Ok(());
        };
        let mut connection = opened?;
        supervisor.opened();
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                error = connection.lost() => return Err(error),
                _ = ticks.tick() => {}
            }
            for queue in QUEUES {
                ask(&mut connection, queue).await?;
            }
        }
        connection.close().await;
        Ok(())
    }
}

/// Fails only where the connection does.
async fn ask(connection: &mut BrokerConnection, queue: &'static str) -> Result<(), BrokerError> {
    let channel = connection.channel().await?;
    match topology::waiting(&channel, queue).await {
        Ok(messages) => instruments::queue_depth(queue, messages),
        // The broker has closed the channel.
        Err(error) => {
            tracing::debug!(%error, queue, "a queue can't be looked at");
            instruments::queue_depth_unknown(queue);
            return Ok(());
        }
    }
    bounded("channel.close", channel.close(200, "OK".into())).await
}

#[cfg(test)]
mod tests {
    use stack::{RabbitMq, until};
    use tokio::task::JoinSet;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_lost_connection_is_made_anew_before_it_is_needed() {
        let rabbitmq = RabbitMq::start().await.expect("a broker");
        let depths = QueueDepths { url: rabbitmq.url().into(), interval: Duration::from_secs(60 * 60) };
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(depths.run(stop.clone()));
        let opened = format!("{CONNECTION_NAME}): user");
        let connected = async |times| {
            let is_so = async || rabbitmq.log().matches(&opened).count() >= times;
            until("it is connected", PATIENCE, is_so).await.expect("connected");
        };
        connected(1).await;
        rabbitmq.restart().await.expect("restarted");
        connected(2).await;
        stop.cancel();
        tasks.join_all().await;
    }
}
