//! Where the rules come from: a file, a folder, or what is built in.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::Args;
use ratelimit_core::{
    RuleSet,
    rules::{FILE_BYTES_MAX, RuleErrors, RuleFile},
};

const BUILT_IN: &str = include_str!("../rules/snippets.yaml");

/// The rules could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder could not be read.
    #[error("cannot read the rules at {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder holds no file that ends in .yaml or .yml.
    #[error("there is no .yaml or .yml file in {0}")]
    Empty(PathBuf),
    /// They are not valid.
    #[error(transparent)]
    Invalid(#[from] RuleErrors),
}

/// Where the rules are.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// File of rules, or folder of .yaml and .yml files, one domain each; unset: the built-in rules.
    #[arg(long, env = "RATELIMIT_RULES", default_value = "")]
    ratelimit_rules: String,
}

impl RulesArgs {
    /// The file or folder; `None` for the rules built in.
    pub fn path(self) -> Option<PathBuf> {
        (!self.ratelimit_rules.is_empty()).then(|| self.ratelimit_rules.into())
    }
}

/// Loads a file, or each `.yaml` and `.yml` file of a folder; or else the rules that are built in.
pub fn load(path: Option<&Path>) -> Result<RuleSet, LoadError> {
    let Some(path) = path else { return built_in() };
    let paths = if path.is_dir() { yaml_files(path)? } else { vec![path.to_owned()] };
    let files = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    Ok(RuleSet::load(&files)?)
}

fn built_in() -> Result<RuleSet, LoadError> {
    Ok(RuleSet::load(&[RuleFile::new("the built-in rules", BUILT_IN)])?)
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let unreadable = |source| LoadError::Read { path: folder.to_owned(), source };
    let entries =
        fs::read_dir(folder).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(is_yaml).collect();
    paths.sort();
    if paths.is_empty() { Err(LoadError::Empty(folder.to_owned())) } else { Ok(paths) }
}

/// One byte more than a file may have is enough to refuse it.
fn read(path: &Path) -> Result<RuleFile, LoadError> {
    let unreadable = |source| LoadError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content).map_err(unreadable)?;
    Ok(RuleFile::new(path.display().to_string(), content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rules: &RuleSet, domain: &str, entries: &[(&str, &str)]) -> Vec<u64> {
        let place = rules.domain(domain).unwrap().matching(entries.iter().copied()).unwrap();
        place.rules().iter().map(|rule| rule.policy.algorithm().unwrap().limit()).collect()
    }

    #[test]
    fn what_is_built_in_limits_writes() {
        let rules = load(None).unwrap();
        assert_eq!(limits(&rules, "snippets", &[("tier", "free"), ("caller", "ann")]), [60]);
        assert_eq!(limits(&rules, "snippets", &[("tier", "anonymous"), ("caller", "192.0.2.1")]), [60]);
        assert_eq!(limits(&rules, "snippets", &[("tier", "premium"), ("caller", "ann")]), [300]);
        for (tier, mebibytes) in [("anonymous", 20), ("free", 100), ("premium", 1024)] {
            let bytes = limits(&rules, "snippets", &[("tier", tier), ("bytes", "ann")]);
            assert_eq!(bytes, [mebibytes * 1024 * 1024]);
        }
        for (tier, limit) in [("anonymous", 600), ("free", 600), ("premium", 3000)] {
            assert_eq!(limits(&rules, "snippets", &[("tier", tier), ("missing", "ann")]), [limit]);
        }
    }

    #[test]
    fn the_example_limits_per_key_and_per_address() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/examples");
        let rules = load(Some(&folder)).unwrap();
        for (tier, limit) in [("free", 10), ("premium", 50)] {
            assert_eq!(limits(&rules, "api", &[("tier", tier), ("api_key", "k")]), [limit]);
            assert_eq!(limits(&rules, "api", &[("tier", tier), ("address", "192.0.2.1")]), [limit]);
        }
    }

    #[test]
    fn a_folder_is_one_domain_a_file_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load(Some(folder.path())), Err(LoadError::Empty(_))));
        for (name, text) in [("a.yaml", "domain: a"), ("b.yml", "domain: b"), ("notes.txt", "domain: [")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let rules = load(Some(folder.path())).unwrap();
        assert_eq!(rules.domains().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
        fs::write(folder.path().join("c.yaml"), "domain: a\nlimit: 3").unwrap();
        let error = load(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("c.yaml:2:1: unknown field `limit`"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(
            load(Some(Path::new("/nowhere/rules.yaml")))
                .unwrap_err()
                .to_string()
                .contains("/nowhere/rules.yaml")
        );
    }
}
