//! Descriptors as a person writes them on a command line: `tier=free,caller=ann;path=/login`.

/// A descriptor: keys and values, in order.
pub type Entries = Vec<(String, String)>;

/// A text that names no descriptors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorSyntax {
    /// There is no `=` in an entry, or nothing before it.
    #[error(
        "{0:?} is no entry of a descriptor; an entry is KEY=VALUE, and \\ goes before a , ; or \\ within it"
    )]
    Entry(String),
    /// Nothing follows the last `\`.
    #[error("the text ends with a single \\; write \\\\ for the character itself")]
    Backslash,
}

/// Reads descriptors with `;` between them, each of entries `KEY=VALUE` with `,` between them. A `\` before a character takes
/// away its meaning: `path=/a\,b`. The first `=` ends the key, so that a value may have more of them. Spaces before
/// a key are passed over.
pub fn parse_descriptors(text: &str) -> Result<Vec<Entries>, DescriptorSyntax> {
    let mut reader = Reader::default();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => reader.text.push(chars.next().ok_or(DescriptorSyntax::Backslash)?),
            '=' if reader.key.is_none() => reader.key = Some(std::mem::take(&mut reader.text)),
            ',' => reader.end_entry()?,
            ';' => reader.end_descriptor()?,
            ' ' if reader.key.is_none() && reader.text.is_empty() => {}
            _ => reader.text.push(char),
        }
    }
    reader.end_descriptor()?;
    Ok(reader.descriptors)
}

/// Writes a descriptor such that [`parse_descriptors`] reads it.
pub fn write_descriptor<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let entry = |(key, value)| {
        format!("{}={}", escaped(key, &['\\', ',', ';', '=', ' ']), escaped(value, &['\\', ',', ';']))
    };
    entries.into_iter().map(entry).collect::<Vec<_>>().join(",")
}

fn escaped(text: &str, special: &[char]) -> String {
    let escape = |char| special.contains(&char).then_some('\\').into_iter().chain([char]);
    text.chars().flat_map(escape).collect()
}

#[derive(Default)]
struct Reader {
    descriptors: Vec<Entries>,
    entries: Entries,
    key: Option<String>,
    /// Since the last `=`, `,` or `;`.
    text: String,
}

impl Reader {
    fn end_entry(&mut self) -> Result<(), DescriptorSyntax> {
        let text = std::mem::take(&mut self.text);
        match self.key.take() {
            Some(key) if !key.is_empty() => self.entries.push((key, text)),
            Some(_) => return Err(DescriptorSyntax::Entry(format!("={text}"))),
            None => return Err(DescriptorSyntax::Entry(text)),
        }
        Ok(())
    }

    fn end_descriptor(&mut self) -> Result<(), DescriptorSyntax> {
        self.end_entry()?;
        self.descriptors.push(std::mem::take(&mut self.entries));
        Ok(())
    }
}
