//! Rules files as plain text: where their lines end, and which descriptors are likely meant.

/// Most descriptors that are taken out of a text, and most entries of each: as many as a request may have.
const DESCRIPTORS_MAX: usize = 16;
const ENTRIES_MAX: usize = 16;

/// A descriptor's keys and values.
pub fn pairs(entries: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

/// The last column that can be meant on that line, one after its last character; `None` where there is no such line. Both
/// count from 1.
pub fn columns_max(content: &[u8], line: usize) -> Option<usize> {
    let text = String::from_utf8_lossy(content);
    // A line ends with LF, CR LF or CR, as in YAML.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.split('\n').nth(line.checked_sub(1)?).map(|line| line.chars().count() + 1)
}

/// Descriptors that the rules in that text may match: its words after `key` and `value`, one by one and each with those that
/// follow.
pub fn descriptors(text: &str) -> Vec<Vec<(String, String)>> {
    let entries = entries(text);
    let from = |first| entries.iter().skip(first).take(ENTRIES_MAX).cloned().collect::<Vec<_>>();
    let chains = (0..entries.len()).map(from).flat_map(|chain| [chain[..1].to_vec(), chain]);
    chains.chain([Vec::new()]).take(DESCRIPTORS_MAX).collect()
}

fn entries(text: &str) -> Vec<(String, String)> {
    let words = text.split(|char: char| char.is_whitespace() || "{}[],:'\"#&|>!%-".contains(char));
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let mut entries: Vec<(String, String)> = Vec::new();
    for pair in words.windows(2) {
        match pair {
            ["key", key] => entries.push((like(key), String::new())),
            ["value", value] => entries.iter_mut().rev().take(1).for_each(|last| last.1 = like(value)),
            _ => {}
        }
    }
    entries
}

/// What a wildcard stands for, or the word itself.
fn like(word: &str) -> String {
    word.strip_suffix('*').map_or_else(|| word.to_owned(), |prefix| format!("{prefix}x"))
}
