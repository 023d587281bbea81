//! Throws letters away.

use super::{args::PurgeArgs, counted, error::DeadLettersError, reader::Reader, say, selection::Selection};

/// Takes the letters that are meant out of the queue, and gives the others back.
pub(super) async fn purge(mut reader: Reader, args: &PurgeArgs) -> Result<(), DeadLettersError> {
    let mut selection = match (args.all, args.malformed) {
        (true, _) => Selection::All,
        (_, true) => Selection::Malformed,
        _ => Selection::ids(&args.ids),
    };
    let mut purged = 0_u64;
    let done = go_through(&mut reader, &mut selection, args.dry_run, &mut purged).await;
    let closed = reader.close().await;
    let what = if args.dry_run { "would be purged" } else { "purged" };
    say(format_args!("{} {what}", counted(purged, "dead letter")))?;
    done?;
    closed?;
    selection.all_seen()
}

async fn go_through(
    reader: &mut Reader,
    selection: &mut Selection,
    dry_run: bool,
    purged: &mut u64,
) -> Result<(), DeadLettersError> {
    loop {
        let letters = reader.take(u64::MAX).await?;
        if letters.is_empty() {
            return Ok(());
        }
        for letter in letters.iter().filter(|letter| selection.takes(letter)) {
            if !dry_run {
                reader.settle(letter).await?;
            }
            *purged += 1;
            let what = if dry_run { "would be purged" } else { "purged" };
            say(format_args!("{}  {what}", letter.id))?;
        }
    }
}
