//! Files that are not valid. Each begins with the mistakes that are to be told, as comments: `# error: LINE:COLUMN: REASON`.

use std::{fs, path::PathBuf};

use ratelimit_core::rules::{RuleFile, RuleSet};

/// The name of each file, and its content.
pub fn files() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/malformed_rules");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

fn expected(content: &[u8]) -> Vec<String> {
    let lines = String::from_utf8_lossy(content).into_owned();
    lines.lines().map_while(|line| line.strip_prefix("# error: ").map(str::to_owned)).collect()
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_would_be_right() {
    let files = files();
    assert!(files.len() >= 40, "{}", files.len());
    for (name, content) in files {
        let expected = expected(&content);
        let errors = RuleSet::load(&[RuleFile::new(&name, content)]).err();
        let errors = errors.unwrap_or_else(|| panic!("{name} is valid"));
        let told: Vec<_> =
            errors.0.iter().map(|error| error.to_string().replacen(&format!("{name}:"), "", 1)).collect();
        assert_eq!(told, expected, "{name}");
    }
}
