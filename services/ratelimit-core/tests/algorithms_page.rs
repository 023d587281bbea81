//! The page on choosing an algorithm: its rules load, its picture is what the code draws, and shows what the page says.
// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

#[path = "../examples/algorithms_picture/calls.rs"]
mod calls;
#[path = "../examples/algorithms_picture/limits.rs"]
mod limits;
#[path = "../examples/algorithms_picture/picture.rs"]
mod picture;
#[path = "../examples/algorithms_picture/run.rs"]
mod run;
#[path = "../examples/algorithms_picture/style.rs"]
mod style;

use std::{fs, path::PathBuf};

use ratelimit_core::{
    Kind,
    rules::{RuleFile, RuleSet},
};

use crate::{limits::limits, picture::Picture, run::Run};

const DRAW_AGAIN: &str = "cargo run -q -p ratelimit-core --example algorithms_picture > docs/algorithms.svg";

fn read(of: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(of)).unwrap()
}

fn page() -> String {
    read("docs/algorithms.md")
}

#[test]
fn the_picture_is_what_the_code_draws() {
    let drawn = Picture::draw(&limits().unwrap()).to_string();
    assert!(
        read("docs/algorithms.svg") == drawn,
        "docs/algorithms.svg is stale; draw it again:\n{DRAW_AGAIN}"
    );
    assert!(page().contains("](algorithms.svg)"));
}

#[test]
fn the_picture_shows_what_the_page_says() {
    let page = page();
    for limit in limits().unwrap() {
        let (name, most) = (limit.algorithm.name(), Run::through(&limit.algorithm).most());
        let item = page.lines().find(|line| line.starts_with(&format!("- `{name}`: "))).unwrap();
        assert!(item.contains(&format!("**{most}**")), "it is {most}: {item}");
    }
}

#[test]
fn each_algorithm_has_a_section_and_a_row() {
    let (page, limits) = (page(), limits().unwrap());
    for name in Kind::ALL.map(Kind::name) {
        assert!(page.contains(&format!("\n## `{name}`\n")), "{name}");
        assert!(page.contains(&format!("](#{name})")), "{name}");
        assert!(limits.iter().any(|limit| limit.algorithm.name() == name), "{name}");
    }
}

#[test]
fn the_page_shows_rules_that_load() {
    let page = page();
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut shown = Vec::new();
    for block in blocks {
        let file = RuleFile::new("docs/algorithms.md", block);
        let rules = RuleSet::load(&[file]).unwrap_or_else(|errors| panic!("{errors}\n{block}"));
        assert!(rules.warnings().is_empty(), "{:?}", rules.warnings());
        let of_block = rules.domains().flat_map(|(_, domain)| domain.rules());
        shown.extend(of_block.filter_map(|rule| Some(rule.policy.algorithm()?.kind())));
    }
    assert!(Kind::ALL.iter().all(|kind| shown.contains(kind)), "{shown:?}");
}
