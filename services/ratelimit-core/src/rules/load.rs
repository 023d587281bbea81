//! All domains together.

use std::{collections::BTreeMap, fmt::Write as _};

use sha2::{Digest, Sha256};

use super::{
    Domain, RuleError, RuleErrors,
    parse::{Parsed, parse},
};

/// Most domains of a set.
pub const DOMAINS_MAX: usize = 1000;

/// A file of rules: one domain.
#[derive(Debug, Clone)]
pub struct RuleFile {
    /// What errors call it.
    pub name: String,
    /// Its YAML, in UTF-8.
    pub content: Vec<u8>,
}

/// The rules of all domains.
#[derive(Debug)]
pub struct RuleSet {
    domains: BTreeMap<String, Domain>,
    warnings: Vec<RuleError>,
    version: String,
}

impl RuleFile {
    /// A file of that name, which need not exist.
    pub fn new(name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), content: content.into() }
    }
}

impl RuleSet {
    /// Reads files of one domain each. All mistakes in all of them are reported together.
    pub fn load(files: &[RuleFile]) -> Result<Self, RuleErrors> {
        if files.len() > DOMAINS_MAX {
            let reason = format_args!("there are more than {DOMAINS_MAX} files");
            return Err(RuleErrors(vec![RuleError::new("rules", None, reason)]));
        }
        let mut loading = Loading::default();
        for file in files {
            loading.add(file);
        }
        if loading.errors.is_empty() {
            let domains = loading.domains.into_iter().map(|(name, (domain, _))| (name, domain)).collect();
            Ok(Self { domains, warnings: loading.warnings, version: version(files) })
        } else {
            Err(RuleErrors(loading.errors))
        }
    }

    /// The rules of that domain.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.get(name)
    }

    /// All domains, by name.
    pub fn domains(&self) -> impl Iterator<Item = (&str, &Domain)> {
        self.domains.iter().map(|(name, domain)| (name.as_str(), domain))
    }

    /// What is valid and surely not meant, such as a wildcard that another one leaves nothing to.
    pub fn warnings(&self) -> &[RuleError] {
        &self.warnings
    }

    /// Of the contents: the same wherever the same rules are loaded, another once they change.
    pub fn version(&self) -> &str {
        &self.version
    }
}

#[derive(Default)]
struct Loading<'f> {
    /// With the file that each is in.
    domains: BTreeMap<String, (Domain, &'f str)>,
    warnings: Vec<RuleError>,
    errors: Vec<RuleError>,
}

impl<'f> Loading<'f> {
    fn add(&mut self, file: &'f RuleFile) {
        let Parsed { domain, place, warnings } = match parse(&file.name, &file.content) {
            Ok(parsed) => parsed,
            Err(errors) => return self.errors.extend(errors),
        };
        self.warnings.extend(warnings);
        if let Some((_, other)) = self.domains.get(domain.name()) {
            let reason = format_args!("domain {:?} is in another file too, {other}", domain.name());
            self.errors.push(RuleError::new(&file.name, Some(place), reason));
        } else {
            self.domains.insert(domain.name().to_owned(), (domain, &file.name));
        }
    }
}

fn version(files: &[RuleFile]) -> String {
    let mut contents: Vec<&[u8]> = files.iter().map(|file| file.content.as_slice()).collect();
    contents.sort_unstable();
    let mut hash = Sha256::new();
    for content in contents {
        hash.update(content.len().to_be_bytes());
        hash.update(content);
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
