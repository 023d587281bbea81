//! `deploy/fill-in.sh`, as the containers of Redis and RabbitMQ run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, str};

use crate::servers::deploy;

/// Fills in a template of `deploy/` and gives the path of the result.
pub fn fill_in(template: &str, passwords: &[(&str, &str)], dir: &Path) -> PathBuf {
    let result = dir.join(template.replace('/', "-"));
    let output = run(&deploy(template), &result, passwords);
    assert!(output.status.success(), "{template}: {}", String::from_utf8_lossy(&output.stderr));
    result
}

fn run(template: &Path, result: &Path, passwords: &[(&str, &str)]) -> Output {
    let mut command = Command::new("sh");
    command.arg(deploy("fill-in.sh")).arg(template).arg(result);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).envs(passwords.iter().copied());
    command.output().unwrap()
}

#[test]
fn passwords_are_filled_in_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (template, result) = (dir.path().join("template"), dir.path().join("result"));
    fs::write(&template, "a @ONE_PASSWORD@, b @TWO_PASSWORD@, a again @ONE_PASSWORD@").unwrap();

    let output = run(&template, &result, &[("ONE_PASSWORD", "x-1_A"), ("TWO_PASSWORD", "y")]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(&result).unwrap(), "a x-1_A, b y, a again x-1_A");

    for two in [None, Some(""), Some("a b"), Some("a/b"), Some("a&b"), Some("a\nb"), Some("\"")] {
        fs::remove_file(&result).unwrap_or_default();
        let one = ("ONE_PASSWORD", "x");
        let passwords: Vec<_> = [one].into_iter().chain(two.map(|value| ("TWO_PASSWORD", value))).collect();
        let output = run(&template, &result, &passwords);
        let complaint = str::from_utf8(&output.stderr).unwrap();
        assert!(!output.status.success() && !result.exists(), "{two:?} was taken");
        assert!(complaint.contains("TWO_PASSWORD"), "{two:?}: {complaint}");
    }
}
