//! Looks at rules without serving them: for people who write rules, and for their CI.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ratelimit_core::{Domain, RuleSet, rules::parse_descriptors};

use crate::rules;

/// The flags of `check-rules`.
#[derive(Debug, Args)]
pub struct CheckRulesArgs {
    /// File of rules, or folder of .yaml and .yml files, one domain each.
    path: PathBuf,
}

/// The flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// File of rules, or folder of .yaml and .yml files, one domain each.
    path: PathBuf,
    /// The descriptors of one request: tier=free,caller=x. A ; goes between several, and a \ before a , ; or \ in a value.
    descriptors: String,
    /// The domain, where there are several.
    #[arg(long)]
    domain: Option<String>,
}

impl CheckRulesArgs {
    /// Checks the rules, and says what is in them.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn run(&self) -> anyhow::Result<()> {
        let rules = load(&self.path)?;
        for (name, domain) in rules.domains() {
            println!("domain {name}: {} limits", domain.rules().len());
        }
        println!("the rules are valid, version {}", rules.version());
        Ok(())
    }
}

impl ExplainArgs {
    /// Says which limits a request falls under, and why those near them don't count.
    ///
    /// # Errors
    /// When rules, descriptors or domain are wrong.
    pub fn run(&self) -> anyhow::Result<()> {
        let rules = load(&self.path)?;
        let descriptors = parse_descriptors(&self.descriptors)?;
        println!("{}", self.domain(&rules)?.explain(&descriptors));
        Ok(())
    }

    fn domain<'r>(&self, rules: &'r RuleSet) -> anyhow::Result<&'r Domain> {
        let names = || rules.domains().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
        if let Some(name) = &self.domain {
            return rules
                .domain(name)
                .with_context(|| format!("there is no domain {name:?}, but {}", names()));
        }
        let mut domains = rules.domains();
        match (domains.next(), domains.next()) {
            (Some((_, domain)), None) => Ok(domain),
            _ => bail!("there are several domains, take one with --domain: {}", names()),
        }
    }
}

fn load(path: &Path) -> anyhow::Result<RuleSet> {
    let rules = rules::load(Some(path))?;
    for warning in rules.warnings() {
        eprintln!("warning: {warning}");
    }
    Ok(rules)
}
