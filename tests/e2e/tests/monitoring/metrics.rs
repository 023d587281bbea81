//! Metrics by name, with their types and labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// What `/metrics` says.
pub fn exposed(metrics: &str) -> Metrics {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), (kind.to_owned(), labels(metrics, name)))).collect()
}

/// What the tables in a section of a page say.
pub fn documented(page: &str, title: &str) -> Metrics {
    let (_, section) = page.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no {title}"));
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    section.lines().filter_map(row).collect()
}

/// The metrics with one of these prefixes that are named in the code below a folder.
pub fn named_in(folder: &Path, prefixes: &[&str]) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| {
        if path.is_dir() { named_in(&path, prefixes) } else { named_in_file(&path, prefixes) }
    };
    entries.flat_map(named).collect()
}

fn named_in_file(path: &Path, prefixes: &[&str]) -> BTreeSet<String> {
    let code = fs::read_to_string(path).unwrap();
    let literals = code.split('"').filter(|text| prefixes.iter().any(|prefix| text.starts_with(prefix)));
    literals.map(str::to_owned).collect()
}

/// A row of a table: ``| `NAME` | TYPE | `LABEL`, `LABEL` | ...``
fn row(line: &str) -> Option<(String, (String, BTreeSet<String>))> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
    let mut cells = rest.split('|').map(str::trim);
    let (kind, labels) = (cells.next()?, cells.next()?);
    let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
    Some((name.to_owned(), (kind.to_owned(), labels.filter(|label| !label.is_empty()).collect())))
}

/// The labels of a metric's samples. `le` belongs to the type.
fn labels(metrics: &str, name: &str) -> BTreeSet<String> {
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let samples = samples.map(|rest| rest.trim_start_matches("_bucket").trim_start_matches("_count"));
    let labels = samples.filter_map(|rest| rest.strip_prefix('{')?.split_once('}'));
    let labels = labels.flat_map(|(labels, _)| labels.split("\",").collect::<Vec<_>>());
    let names = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
    names.filter(|name| name != "le").collect()
}
