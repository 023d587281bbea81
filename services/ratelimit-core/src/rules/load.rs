//! All domains together.

use std::{collections::BTreeMap, fmt::Write as _};

use sha2::{Digest, Sha256};

use super::{Domain, RuleError, RuleErrors, parse::parse};

/// Most domains of a set.
pub const DOMAINS_MAX: usize = 1000;

/// A file of rules: one domain.
#[derive(Debug, Clone)]
pub struct RuleFile {
    /// What errors call it.
    pub name: String,
    /// Its YAML.
    pub text: String,
}

/// The rules of all domains.
#[derive(Debug)]
pub struct RuleSet {
    domains: BTreeMap<String, Domain>,
    version: String,
}

impl RuleSet {
    /// Reads files of one domain each. All mistakes in all of them are reported together.
    pub fn load(files: &[RuleFile]) -> Result<Self, RuleErrors> {
        let (mut domains, mut errors) = (BTreeMap::new(), Vec::new());
        for file in files {
            match parse(&file.name, &file.text) {
                Err(more) => errors.extend(more),
                Ok((name, _)) if domains.contains_key(&name) => {
                    errors.push(RuleError::new(
                        &file.name,
                        None,
                        format_args!("domain {name:?} is in another file too"),
                    ));
                }
                Ok((name, domain)) => drop(domains.insert(name, domain)),
            }
        }
        if files.len() > DOMAINS_MAX {
            errors.push(RuleError::new(
                "rules",
                None,
                format_args!("there are more than {DOMAINS_MAX} files"),
            ));
        }
        if errors.is_empty() {
            Ok(Self { domains, version: version(files) })
        } else {
            Err(RuleErrors(errors))
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

    /// Of the contents: the same wherever the same rules are loaded, another once they change.
    pub fn version(&self) -> &str {
        &self.version
    }
}

fn version(files: &[RuleFile]) -> String {
    let mut texts: Vec<&str> = files.iter().map(|file| file.text.as_str()).collect();
    texts.sort_unstable();
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
