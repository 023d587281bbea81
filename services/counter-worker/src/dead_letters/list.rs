//! A line for each letter.

use std::io;

use super::{
    args::ListArgs,
    contents::{Line, Sum},
    error::DeadLettersError,
    reader::Reader,
    say,
};

/// Prints the letters, and gives them back.
pub(super) async fn list(mut reader: Reader, args: &ListArgs) -> Result<(), DeadLettersError> {
    let mut sum = Sum::default();
    let listed = print(&mut reader, args, &mut sum).await;
    let further = reader.left();
    reader.close().await?;
    match listed {
        // Whoever reads has seen enough.
        Err(DeadLettersError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        listed => listed?,
    }
    let more = if further == 0 { String::new() } else { format!(" (and {further} more: --limit)") };
    let summary = format!("{} dead letters: {sum}{more}", sum.letters);
    if args.json {
        eprintln!("{summary}");
        return Ok(());
    }
    say(summary)
}

async fn print(reader: &mut Reader, args: &ListArgs, sum: &mut Sum) -> Result<(), DeadLettersError> {
    loop {
        let letters = reader.take(args.limit - sum.letters).await?;
        if letters.is_empty() {
            return Ok(());
        }
        for letter in &letters {
            let line = Line::from(letter);
            sum.add(&line);
            if args.json {
                say(serde_json::to_string(&line).map_err(io::Error::from)?)?;
            } else {
                say(&line)?;
            }
        }
    }
}
