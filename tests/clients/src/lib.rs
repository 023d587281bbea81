//! The README's tour as a script: what a reader would paste, with its expectations checked.

/// A command of the tour and what it should do.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// One logical line of shell.
    pub command: String,
    /// What its user is told to expect.
    pub expectation: Expectation,
}

/// What a command should do.
#[derive(Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Succeed.
    Succeeds,
    /// Succeed, with this in its output.
    Prints(String),
    /// Fail, with this in its error output.
    Fails(String),
}

/// The steps in the `sh tour` blocks of a Markdown text, in order.
pub fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut continued = false;
    for line in tour_lines(markdown) {
        let expected = line.strip_prefix("# prints: ").map(|text| Expectation::Prints(text.to_owned()));
        let expected = expected
            .or_else(|| line.strip_prefix("# fails: ").map(|text| Expectation::Fails(text.to_owned())));
        match (steps.last_mut(), expected) {
            (Some(step), Some(expected)) => step.expectation = expected,
            (Some(step), None) if continued => step.command = format!("{}\n{line}", step.command),
            (_, None) => steps.push(Step { command: line.to_owned(), expectation: Expectation::Succeeds }),
            (None, Some(_)) => {}
        }
        continued = line.ends_with('\\');
    }
    steps
}

fn tour_lines(markdown: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    markdown.lines().filter(move |line| {
        let fence = line.starts_with("```");
        inside = if fence { *line == "```sh tour" } else { inside };
        inside && !fence && !line.trim().is_empty()
    })
}

/// A bash script that runs the steps in one shell and exits non-zero at the first that does not do as expected.
pub fn script(steps: &[Step]) -> String {
    let commands = steps.iter().map(|Step { command, expectation }| {
        let judge = match expectation {
            Expectation::Succeeds => format!("succeeds {}", quoted(command)),
            Expectation::Prints(text) => format!("prints {} {}", quoted(command), quoted(text)),
            Expectation::Fails(text) => format!("fails {} {}", quoted(command), quoted(text)),
        };
        format!("\n{{\n{command}\n}} >\"$OUT\" 2>\"$ERR\"; STATUS=$?\n{judge}\n")
    });
    std::iter::once(PROLOGUE.to_owned()).chain(commands).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

const PROLOGUE: &str = r#"set -uo pipefail
OUT=$(mktemp) ERR=$(mktemp)
trap 'rm -f "$OUT" "$ERR"' EXIT
die() {
    echo "the tour's command: $1" >&2
    echo "was expected to $2, but exited with $STATUS and printed:" >&2
    cat "$OUT" "$ERR" >&2
    exit 1
}
succeeds() { [ "$STATUS" -eq 0 ] || die "$1" "succeed"; }
prints() { { [ "$STATUS" -eq 0 ] && grep -qF -- "$2" "$OUT"; } || die "$1" "print $2"; }
fails() { { [ "$STATUS" -ne 0 ] && grep -qF -- "$2" "$ERR"; } || die "$1" "fail with $2"; }
"#;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const TOUR: &str = "text\n```sh\nignored\n```\n```sh tour\nX='a b'\necho \"$X\" \\\n  c\n# prints: a b c\nls /nowhere\n# fails: No such\n```\n";

    fn run(steps: &[Step]) -> bool {
        Command::new("bash").arg("-c").arg(script(steps)).output().unwrap().status.success()
    }

    #[test]
    fn reads_commands_with_their_expectations() {
        let steps = steps(TOUR);
        assert_eq!(steps.len(), 3);
        assert_eq!(steps[0], Step { command: "X='a b'".into(), expectation: Expectation::Succeeds });
        assert_eq!(steps[1].command, "echo \"$X\" \\\n  c");
        assert_eq!(steps[2].expectation, Expectation::Fails("No such".into()));
    }

    #[test]
    fn the_script_passes_only_when_every_expectation_holds() {
        let mut steps = steps(TOUR);
        assert!(run(&steps));
        steps[1].expectation = Expectation::Prints("something else".into());
        assert!(!run(&steps));
        steps[1].expectation = Expectation::Fails(String::new());
        assert!(!run(&steps));
    }
}
