//! A line for each letter.

use std::io;

use super::{
    args::ListArgs,
    contents::{Line, Sum},
    counted,
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
    listed?;
    let more = if further == 0 { String::new() } else { format!(" (and {further} more: --limit)") };
    let summary = format!("{}: {sum}{more}", counted(sum.letters, "dead letter"));
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
