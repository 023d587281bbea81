//! `counter-worker dead-letters`: what was set aside, for an operator to look at, bring back or throw away.
//!
//! Every action goes through the queue once, from its head and as far as it reached when the action began, so that a letter that
//! is brought back and dies again is not met twice. What it takes it holds, hidden from others, until it has settled the letter or,
//! at the end, given it back. The broker gives back what an action holds that is interrupted, in whatever way. Each letter is held
//! by one action at a time, so several may run side by side.

mod args;
mod contents;
mod error;
mod letter;
mod list;
mod publisher;
mod purge;
mod reader;
mod replay;
mod selection;
mod show;

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _, stdout},
};

pub use args::DeadLettersArgs;
pub use error::DeadLettersError;

use args::Action;
use reader::Reader;

/// Does what the command line says, and says what it did.
///
/// # Errors
/// When the configuration is not valid, or something could not be done. All is safe to repeat.
pub async fn run(args: DeadLettersArgs) -> Result<(), DeadLettersError> {
    let url = args.url()?;
    let reader = Reader::open(&url).await?;
    match &args.action {
        Action::List(args) => list::list(reader, args).await.or_else(seen_enough),
        Action::Show(args) => show::show(reader, args).await.or_else(seen_enough),
        Action::Replay(args) => replay::replay(reader, &url, args).await,
        Action::Purge(args) => purge::purge(reader, args).await,
    }
}

/// Whoever only looks may stop reading.
fn seen_enough(error: DeadLettersError) -> Result<(), DeadLettersError> {
    match error {
        DeadLettersError::Output(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        error => Err(error),
    }
}

fn say(line: impl Display) -> Result<(), DeadLettersError> {
    Ok(writeln!(stdout().lock(), "{line}")?)
}

/// Such as `1 dead letter` or `2 dead letters`.
fn counted(number: impl TryInto<u64>, thing: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
