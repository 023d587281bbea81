//! What deployments load into the broker is what the services declare.

#![allow(clippy::unwrap_used, reason = "a test may")]

use broker::topology::{Argument, BINDINGS, Binding, EXCHANGES, Exchange, QUEUES, Queue};
use serde_json::{Map, Value, json};

const DEFINITIONS: &str = include_str!("../../../deploy/rabbitmq/definitions.json");

#[test]
fn the_definitions_are_the_topology() {
    let definitions: Value = serde_json::from_str(DEFINITIONS).unwrap();
    let vhost = &definitions["vhosts"][0]["name"];
    assert_same(&definitions["exchanges"], EXCHANGES.iter().map(|it| exchange(it, vhost)));
    assert_same(&definitions["queues"], QUEUES.iter().map(|it| queue(it, vhost)));
    assert_same(&definitions["bindings"], BINDINGS.iter().map(|it| binding(it, vhost)));
}

/// The same things, in any order.
fn assert_same(defined: &Value, declared: impl Iterator<Item = Value>) {
    let sorted = |mut values: Vec<Value>| {
        values.sort_by_key(ToString::to_string);
        serde_json::to_string_pretty(&values).unwrap()
    };
    let (defined, declared) = (sorted(defined.as_array().unwrap().clone()), sorted(declared.collect()));
    assert!(
        defined == declared,
        "deploy/rabbitmq/definitions.json has\n{defined}\nand services declare\n{declared}"
    );
}

fn exchange(exchange: &Exchange, vhost: &Value) -> Value {
    json!({
        "vhost": vhost, "name": exchange.name, "type": exchange.kind,
        "durable": true, "auto_delete": false, "internal": false, "arguments": {},
    })
}

fn queue(queue: &Queue, vhost: &Value) -> Value {
    let argument = |(name, value): &(&str, Argument)| {
        let value = match value {
            Argument::Text(text) => json!(text),
            Argument::Number(number) => json!(number),
        };
        ((*name).to_owned(), value)
    };
    let arguments: Map<String, Value> = queue.arguments.iter().map(argument).collect();
    json!({
        "vhost": vhost, "name": queue.name, "durable": true, "auto_delete": false, "arguments": arguments,
    })
}

fn binding(binding: &Binding, vhost: &Value) -> Value {
    json!({
        "vhost": vhost, "source": binding.exchange, "destination": binding.queue, "destination_type": "queue",
        "routing_key": binding.routing_key, "arguments": {},
    })
}
