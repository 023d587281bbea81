//! Bad input is told which fields are wrong, by their paths in the contract, and what would be right.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod accounts;
mod forms;
mod limiter;
mod lists;
mod sending;
mod snippets;

use sending::Bad;

/// A request, and what it is told of each of its fields that is wrong, in order: `path: what would be right`.
type Case = (Bad, &'static [&'static str]);

#[tokio::test]
async fn bad_input_names_every_field_that_is_wrong_and_what_would_be_right() {
    let senders = sending::Senders::start().await;
    let table = [snippets::cases(), lists::cases(), accounts::cases(), limiter::cases()];
    let mut wrong = Vec::new();
    let mut tried = 0;
    for (number, (bad, expected)) in table.into_iter().flatten().enumerate() {
        let told = senders.send(&bad).await;
        if told != expected {
            wrong.push(format!("number {number}, {}: expected {expected:?}, not {told:?}", bad.path));
        }
        tried += 1;
    }
    forms::are_told_the_same(&senders).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 140, "{tried}");
}
