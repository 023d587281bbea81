//! Declaring the topology on a broker where it is missing, there, or there with other properties.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use broker::{
    BrokerConnection, BrokerError, Difference, Mismatch,
    topology::{self, BATCHES_QUEUE, DEAD_QUEUE, VIEWS_EXCHANGE},
};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use secrecy::SecretString;

async fn open(url: &str) -> BrokerConnection {
    BrokerConnection::open(&SecretString::from(url), "test").await.expect("connected")
}

async fn declare(connection: &mut BrokerConnection) -> Result<(), BrokerError> {
    let channel = connection.channel().await.expect("a channel");
    topology::declare(&channel).await
}

/// Declares again, which must fail, and tells why.
async fn mismatch(connection: &mut BrokerConnection) -> Mismatch {
    match declare(connection).await {
        Err(BrokerError::Mismatch(mismatch)) => mismatch,
        other => panic!("{other:?}"),
    }
}

fn argument(name: &str, wanted: &str, found: &str) -> Difference {
    Difference::Argument { name: name.to_owned(), wanted: wanted.to_owned(), found: found.to_owned() }
}

/// Puts a queue of that name there; of no arguments, it is a classic one.
async fn put_queue(channel: &Channel, name: &str, arguments: &[(&str, AMQPValue)]) {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    let deleting = channel.queue_delete(name.into(), QueueDeleteOptions::default());
    deleting.await.expect("deleted");
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, table).await.expect("declared");
}

#[tokio::test]
async fn it_is_declared_as_often_as_one_likes() {
    let vhost = stack::shared().amqp_vhost().await;
    let mut connection = open(vhost.url()).await;
    for _ in 0..2 {
        declare(&mut connection).await.expect("declared");
    }
    let channel = connection.channel().await.expect("a channel");
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    for queue in [BATCHES_QUEUE, DEAD_QUEUE] {
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        assert_eq!(declared.expect("it is there").message_count(), 0);
    }
    connection.close().await;
}

#[tokio::test]
async fn another_argument_is_named_with_both_values_until_the_queue_is_deleted() {
    let vhost = stack::shared().amqp_vhost().await;
    let mut connection = open(vhost.url()).await;
    declare(&mut connection).await.expect("declared");
    let channel = connection.channel().await.expect("a channel");
    let quorum = ("x-queue-type", AMQPValue::LongString("quorum".into()));
    put_queue(&channel, DEAD_QUEUE, &[quorum, ("x-delivery-limit", AMQPValue::LongInt(20))]).await;

    let difference = argument("x-delivery-limit", "1000000", "20");
    let expected = Mismatch { what: "queue", name: DEAD_QUEUE, difference };
    for _ in 0..2 {
        assert_eq!(mismatch(&mut connection).await, expected);
    }
    let deleting = channel.queue_delete(DEAD_QUEUE.into(), QueueDeleteOptions::default());
    deleting.await.expect("deleted");
    declare(&mut connection).await.expect("declared anew");
    connection.close().await;
}

#[tokio::test]
async fn a_classic_queue_in_the_place_of_a_quorum_queue_is_a_mismatch() {
    let vhost = stack::shared().amqp_vhost().await;
    let mut connection = open(vhost.url()).await;
    declare(&mut connection).await.expect("declared");
    let channel = connection.channel().await.expect("a channel");
    for queue in [DEAD_QUEUE, BATCHES_QUEUE] {
        put_queue(&channel, queue, &[]).await;
        let Mismatch { what, name, difference } = mismatch(&mut connection).await;
        assert_eq!((what, name), ("queue", queue));
        // Which of its arguments comes first is the broker's affair.
        let Difference::Argument { found, .. } = difference else { panic!("{difference:?}") };
        assert!(["none", "classic"].contains(&found.as_str()), "{found}");
        let deleting = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        deleting.await.expect("deleted");
    }
    connection.close().await;
}

#[tokio::test]
async fn an_exchange_of_another_type_is_a_mismatch() {
    let vhost = stack::shared().amqp_vhost().await;
    let mut connection = open(vhost.url()).await;
    let channel = connection.channel().await.expect("a channel");
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declaring =
        channel.exchange_declare(VIEWS_EXCHANGE.into(), ExchangeKind::Topic, options, FieldTable::default());
    declaring.await.expect("declared");

    let difference = argument("type", "direct", "topic");
    let expected = Mismatch { what: "exchange", name: VIEWS_EXCHANGE, difference };
    assert_eq!(mismatch(&mut connection).await, expected);
    channel.exchange_delete(VIEWS_EXCHANGE.into(), ExchangeDeleteOptions::default()).await.expect("deleted");
    declare(&mut connection).await.expect("declared anew");
    connection.close().await;
}
