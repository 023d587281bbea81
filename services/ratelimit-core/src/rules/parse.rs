//! From a file's bytes to a domain: every mistake is noted with its place, and all are reported.

use super::{
    Domain, RuleError,
    document::Document,
    error::{Notes, Place},
    names,
    read::Read,
    walk::Walk,
    yaml,
};

/// Largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Deepest descriptor, in entries.
pub const DEPTH_MAX: usize = 16;
/// Most descriptors of a file.
pub const NODES_MAX: usize = 10_000;
/// Most limits of one descriptor.
pub const LIMITS_PER_NODE_MAX: usize = 16;
/// Longest name of a domain, key or rule, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub domain: Domain,
    /// Of the domain's name.
    pub place: Place,
    /// What is valid, and surely not meant.
    pub warnings: Vec<RuleError>,
}

pub(super) fn parse(file: &str, content: &[u8]) -> Result<Parsed, Vec<RuleError>> {
    let text = text(content).map_err(|(place, reason)| vec![RuleError::new(file, place, reason)])?;
    let mut notes = Notes::default();
    let mut warnings = Notes::default();
    let domain = read(text, &mut notes).and_then(|document| domain(document, &mut notes, &mut warnings));
    match domain {
        Some((domain, place)) if notes.is_empty() => {
            Ok(Parsed { domain, place, warnings: warnings.into_errors(file) })
        }
        _ => Err(notes.into_errors(file)),
    }
}

fn text(content: &[u8]) -> Result<&str, (Option<Place>, String)> {
    if content.len() > FILE_BYTES_MAX {
        return Err((None, format!("is larger than {FILE_BYTES_MAX} bytes")));
    }
    std::str::from_utf8(content).map_err(|error| {
        // All before that place is valid. To YAML a carriage return ends a line, too.
        let valid = String::from_utf8_lossy(&content[..error.valid_up_to()]);
        let valid = valid.replace("\r\n", "\n").replace('\r', "\n");
        let line = valid.rsplit('\n').next().unwrap_or_default();
        let place = Place { line: valid.matches('\n').count() + 1, column: line.chars().count() + 1 };
        (Some(place), "is not UTF-8; save the file with that encoding".to_owned())
    })
}

fn read(text: &str, notes: &mut Notes) -> Option<Document> {
    let Some(yaml) = yaml::parse(text, notes) else {
        if notes.is_empty() {
            notes.note(Place::START, "the file is empty; it begins with `domain: NAME`");
        }
        return None;
    };
    Document::read("the file", &yaml, notes)
}

fn domain(document: Document, notes: &mut Notes, warnings: &mut Notes) -> Option<(Domain, Place)> {
    let walked = Walk::new(notes, warnings).domain(&document);
    let replaces = walked.drafts.iter().any(|draft| !draft.replaces.is_empty());
    let rules = names::name(walked.drafts, notes);
    let name = document.domain?;
    let domain = Domain { name: name.value.into(), root: walked.root, rules, replaces };
    Some((domain, name.place))
}
