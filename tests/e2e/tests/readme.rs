//! The README's table of the configuration is what the programs' own flags say.
//!
//! `UPDATE_README=1` writes it.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{env, fs};

use chassis::config::ConfigError;
use clap::{Arg, Parser};

#[allow(dead_code, reason = "a program without a library; only its flags are of interest here")]
#[path = "../../../services/standalone/src/config.rs"]
mod standalone;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
const BEGIN: &str = "<!-- configuration: ";
const END: &str = "<!-- end of configuration -->";
const SERVICES: usize = 4;

/// One option of one program.
struct Variable {
    name: String,
    default: String,
    meaning: String,
}

/// What the table says of one variable.
#[derive(Default)]
struct Row {
    /// By service, in the order of the services.
    defaults: Vec<(&'static str, String)>,
    meaning: String,
}

#[test]
fn the_table_of_the_configuration_is_what_the_flags_say() {
    let readme = fs::read_to_string(README).unwrap();
    let begin = readme.find(BEGIN).and_then(|at| Some(at + readme[at..].find('\n')? + 1)).unwrap();
    let end = readme.find(END).unwrap();
    let table = table();
    if env::var_os("UPDATE_README").is_some() {
        fs::write(README, format!("{}{table}{}", &readme[..begin], &readme[end..])).unwrap();
        return;
    }
    assert!(
        readme[begin..end] == table,
        "run `UPDATE_README=1 cargo test -p e2e --test readme`; it should be\n{table}"
    );
}

/// The programs with the variables of each.
fn programs() -> [(&'static str, Vec<Variable>); 4] {
    let problems = |error: Option<ConfigError>| error.map(|error| error.to_string()).unwrap_or_default();
    [
        ("snippets", variables(|cli: snippets::config::Cli| problems(cli.serve.validate().err()))),
        ("ratelimit", variables(|cli: ratelimit::config::Cli| problems(cli.serve.validate().err()))),
        (
            "counter-worker",
            variables(|cli: counter_worker::config::Cli| problems(cli.serve.validate().err())),
        ),
        ("standalone", variables(|cli: standalone::Cli| problems(cli.serve.validate().err()))),
    ]
}

/// The options of a program, of which those are required that it finds wrong when nothing is set.
fn variables<C: Parser>(problems: impl FnOnce(C) -> String) -> Vec<Variable> {
    // Whatever is set where this test runs has no part in it.
    let command = C::command().mut_args(|argument| argument.env(None::<&'static str>));
    let problems = problems(C::from_arg_matches(&command.get_matches_from(["program"])).unwrap());
    let command = C::command();
    command.get_arguments().filter_map(|argument| variable(argument, &problems)).collect()
}

fn variable(argument: &Arg, problems: &str) -> Option<Variable> {
    let name = argument.get_env()?.to_str()?.to_owned();
    let default: Vec<_> = argument.get_default_values().iter().filter_map(|value| value.to_str()).collect();
    let default = match default.join(",") {
        _ if problems.contains(&format!("({name}): is required")) => "required".to_owned(),
        empty if empty.is_empty() => "unset".to_owned(),
        default => format!("`{default}`"),
    };
    let meaning = argument.get_help()?.to_string().replace('|', "\\|");
    Some(Variable {
        name,
        default,
        meaning: format!("{}{}", meaning.trim_end_matches('.'), choices(argument)),
    })
}

fn choices(argument: &Arg) -> String {
    let values: Vec<_> =
        argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if values.is_empty() { String::new() } else { format!(": {}", values.join(" or ")) }
}

impl Row {
    /// The usual default, and those of the services that have another.
    fn default_text(&self) -> String {
        let usual = &self.defaults[0].1;
        let others = self.defaults.iter().filter(|(_, default)| default != usual);
        others.fold(usual.clone(), |text, (service, default)| format!("{text}; {service}: {default}"))
    }

    fn services(&self) -> String {
        if self.defaults.len() == SERVICES {
            return "all".to_owned();
        }
        self.defaults.iter().map(|(service, _)| *service).collect::<Vec<_>>().join(", ")
    }
}

fn table() -> String {
    let (mut order, mut rows) = (Vec::new(), BTreeMap::<String, Row>::new());
    for (service, variables) in programs() {
        for Variable { name, default, meaning } in variables {
            let row = rows.entry(name.clone()).or_insert_with(|| {
                order.push(name);
                Row { meaning, ..Row::default() }
            });
            row.defaults.push((service, default));
        }
    }
    let mut table = String::from("| variable | default | services | meaning |\n|---|---|---|---|\n");
    for name in order {
        let row = &rows[&name];
        writeln!(table, "| `{name}` | {} | {} | {} |", row.default_text(), row.services(), row.meaning)
            .unwrap();
    }
    table
}
