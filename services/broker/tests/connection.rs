//! Connecting, against a real broker.

#![allow(clippy::expect_used, reason = "a test may")]

use std::time::{Duration, Instant};

use broker::{BrokerConnection, BrokerError, OPERATION_TIMEOUT};
use lapin::{Channel, options::QueueDeclareOptions, types::FieldTable};
use secrecy::SecretString;
use stack::RabbitMq;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

async fn open(url: &str) -> Result<BrokerConnection, BrokerError> {
    BrokerConnection::open(&SecretString::from(url), "test").await
}

/// A channel that the broker has closed, as it was asked for what is not there.
async fn ended_channel(connection: &mut BrokerConnection) -> Channel {
    let channel = connection.channel().await.expect("a channel");
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("missing".into(), passive, FieldTable::default()).await.expect_err("not there");
    channel
}

#[tokio::test]
async fn the_end_of_a_channel_is_noticed() {
    let vhost = stack::shared().amqp_vhost().await;
    let mut connection = open(vhost.url()).await.expect("connected");
    let channel = ended_channel(&mut connection).await;
    let ended = timeout(PATIENCE, connection.ended(&channel)).await;
    assert!(ended.expect("noticed").to_string().contains("NOT_FOUND"));
}

#[tokio::test]
async fn the_end_of_a_channel_is_not_that_of_the_connection() {
    let rabbitmq = RabbitMq::start().await.expect("a broker");
    let mut connection = open(rabbitmq.url()).await.expect("connected");
    ended_channel(&mut connection).await;
    let kill = async { rabbitmq.kill() };
    let (lost, ()) = tokio::join!(timeout(PATIENCE, connection.lost()), kill);
    let why = lost.expect("noticed").to_string();
    assert!(!why.contains("NOT_FOUND"), "{why}");
}

#[tokio::test]
async fn no_failure_prints_the_password() {
    let vhost = stack::shared().amqp_vhost().await;
    let (_, host) = vhost.url().split_once('@').expect("credentials");
    let wrong = format!("amqp://stack:hunter2@{host}");
    for url in [wrong.as_str(), "hunter2", "http://user:hunter2@host", "amqp://user:hunter2@127.0.0.1:1/%2f"]
    {
        let Err(error) = open(url).await else { unreachable!("nobody is let in") };
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_frozen_broker_is_given_up_on() {
    let rabbitmq = RabbitMq::start().await.expect("a broker");
    rabbitmq.pause();
    let since = Instant::now();
    assert!(matches!(open(rabbitmq.url()).await, Err(BrokerError::Timeout("connect"))));
    assert!(since.elapsed() < 2 * OPERATION_TIMEOUT, "took {:?}", since.elapsed());
    rabbitmq.resume();
    open(rabbitmq.url()).await.expect("connected").close().await;
}
