//! All about a letter.

use std::fmt::Write as _;

use lapin::types::FieldTable;
use rpc::views::v1::ViewBatch;

use super::{
    args::ShowArgs,
    contents::{Line, decode},
    error::DeadLettersError,
    letter::{Letter, escaped, value_text},
    reader::Reader,
    say,
    selection::Selection,
};

/// So much of a payload is printed that is not a batch, in bytes.
const DUMP_BYTES_MAX: usize = 256;
/// Bytes in a line of it.
const DUMP_WIDTH: usize = 16;

/// Prints the letters of that id, and gives all back.
pub(super) async fn show(mut reader: Reader, args: &ShowArgs) -> Result<(), DeadLettersError> {
    let mut selection = Selection::ids(std::slice::from_ref(&args.id));
    let mut shown = Ok(());
    while shown.is_ok() {
        let letters = reader.take(u64::MAX).await?;
        if letters.is_empty() {
            break;
        }
        let mut meant = letters.iter().filter(|letter| selection.takes(letter));
        shown = meant.try_for_each(|letter| say(page(letter, args.counts)));
    }
    reader.close().await?;
    shown?;
    selection.all_seen()
}

fn page(letter: &Letter, counts_max: usize) -> String {
    let mut page = format!("{}\n", Line::from(letter));
    let properties = &letter.properties;
    let texts = [("message id", properties.message_id()), ("content type", properties.content_type())];
    for (name, text) in texts {
        if let Some(text) = text {
            let _ = writeln!(page, "{name}: {}", escaped(text.as_str()));
        }
    }
    for (name, value) in letter.headers().into_iter().flat_map(FieldTable::inner) {
        let _ = writeln!(page, "header {}: {}", escaped(name.as_str()), value_text(value));
    }
    match decode(letter) {
        Some(batch) => page += &contents(&batch, counts_max),
        None => page += &dump(&letter.payload),
    }
    page
}

fn contents(batch: &ViewBatch, counts_max: usize) -> String {
    let mut text = format!("batch id: {}\n", escaped(&batch.batch_id));
    for count in batch.counts.iter().take(counts_max) {
        let _ = writeln!(text, "{:>8} views of {}", count.views, escaped(&count.snippet_id));
    }
    text += &further(batch.counts.len(), counts_max);
    for id in batch.deleted_snippet_ids.iter().take(counts_max) {
        let _ = writeln!(text, " deleted {}", escaped(id));
    }
    text += &further(batch.deleted_snippet_ids.len(), counts_max);
    text
}

fn further(all: usize, shown_max: usize) -> String {
    match all.saturating_sub(shown_max) {
        0 => String::new(),
        more => format!("         and {more} more: --counts\n"),
    }
}

fn dump(payload: &[u8]) -> String {
    let mut text = String::new();
    for (at, line) in payload.chunks(DUMP_WIDTH).take(DUMP_BYTES_MAX / DUMP_WIDTH).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = line.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' });
        let (hex, plain) = (hex.join(" "), plain.collect::<String>());
        let _ = writeln!(text, "{:08x}  {hex:<47}  {plain}", at * DUMP_WIDTH);
    }
    if payload.len() > DUMP_BYTES_MAX {
        let _ = writeln!(text, "and {} bytes more", payload.len() - DUMP_BYTES_MAX);
    }
    text
}

#[cfg(test)]
mod tests {
    use rpc::views::v1::ViewCount;

    use super::*;

    #[test]
    fn a_dump_shows_the_beginning() {
        assert_eq!(
            dump(b"\xff\xff no protobuf"),
            "00000000  ff ff 20 6e 6f 20 70 72 6f 74 6f 62 75 66        ...no.protobuf\n"
        );
        assert!(dump(&[0; 1000]).ends_with("and 744 bytes more\n"));
        assert_eq!(dump(&[0; 1000]).lines().count(), 17);
    }

    #[test]
    fn a_long_batch_is_cut() {
        let count = |n: u64| ViewCount { snippet_id: format!("snippet{n}\u{7}"), views: n };
        let batch = ViewBatch {
            batch_id: "b".to_owned(),
            counts: (1..=5).map(count).collect(),
            deleted_snippet_ids: vec!["gone".to_owned()],
            ..ViewBatch::default()
        };
        assert_eq!(
            contents(&batch, 2),
            "batch id: b\n       1 views of snippet1\\u{7}\n       2 views of snippet2\\u{7}\n         and 3 more: \
             --counts\n deleted gone\n"
        );
    }
}
