//! What is wrong with a configuration, all of it.

use std::{fmt, str::FromStr, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

/// Longest duration that can be configured.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Collects what is wrong with a configuration, so that one run reports all of it.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

/// Every mistake in a configuration, one a line.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not valid:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Problems {
    /// Notes that the option of that variable is wrong, and what would be right.
    pub fn push(&mut self, variable: &str, problem: impl fmt::Display) {
        let flag = variable.to_lowercase().replace('_', "-");
        self.0.push(format!("--{flag} ({variable}): {problem}"));
    }

    /// Parses a value; `expected` says what would be right, such as "an address such as 0.0.0.0:50051".
    pub fn parse<T: FromStr>(&mut self, variable: &str, value: &str, expected: &str) -> Option<T> {
        let parsed = value.trim().parse().ok();
        if parsed.is_none() {
            self.push(variable, format_args!("{value:?} is not {expected}"));
        }
        parsed
    }

    /// Parses a duration such as `200ms`, `10s` or `1m 30s`, of a day at most; zero is refused.
    pub fn duration(&mut self, variable: &str, value: &str) -> Option<Duration> {
        let parsed = humantime::parse_duration(value.trim()).ok().filter(|d| !d.is_zero());
        if parsed.is_none() {
            self.push(variable, format_args!("{value:?} is not a duration above 0 such as 200ms or 10s"));
        } else if parsed > Some(DURATION_MAX) {
            self.push(variable, format_args!("{value:?} is longer than a day"));
        }
        parsed.filter(|duration| *duration <= DURATION_MAX)
    }

    /// Parses a whole number within a range.
    pub fn within(&mut self, variable: &str, value: &str, min: u64, max: u64) -> Option<u64> {
        let parsed = value.trim().parse().ok().filter(|n| (min..=max).contains(n));
        if parsed.is_none() {
            self.push(variable, format_args!("{value:?} is not a whole number from {min} to {max}"));
        }
        parsed
    }

    /// Checks for a URL of the scheme in `form`, such as `http://HOST:PORT`.
    pub fn url(&mut self, variable: &str, value: &str, form: &str) -> Option<String> {
        let scheme = form.split("://").next().unwrap_or_default();
        let (given, rest) = value.split_once("://").unwrap_or_default();
        // What was given is not repeated: it may hold a password.
        if given.strip_suffix('s') == Some(scheme) {
            self.push(variable, format_args!("TLS is not supported; expected {form}"));
        } else if value.is_empty() {
            self.push(variable, format_args!("is required, as {form}"));
        } else if rest.is_empty() || (given != scheme && (scheme, given) != ("postgres", "postgresql")) {
            self.push(variable, format_args!("is not a URL of the form {form}"));
        } else if !has_hosts(scheme, rest) || (scheme == "http" && value.parse::<http::Uri>().is_err()) {
            self.push(variable, format_args!("is not a URL of the form {form}: no host, or no such port"));
        } else {
            return Some(value.to_owned());
        }
        None
    }

    /// Checks for a URL that may hold a password.
    pub fn secret_url(&mut self, variable: &str, value: &SecretString, form: &str) -> Option<SecretString> {
        self.url(variable, value.expose_secret(), form).map(SecretString::from)
    }

    /// The error that lists everything noted so far.
    pub fn into_error(self) -> ConfigError {
        ConfigError(self.0)
    }

    /// Gives the configuration back if nothing was noted. Callers build it as an `Option`, with `?` on
    /// each parsed part after all parts were parsed.
    pub fn finish<T>(self, config: Option<T>) -> Result<T, ConfigError> {
        match config {
            Some(config) if self.0.is_empty() => Ok(config),
            _ => Err(self.into_error()),
        }
    }
}

/// Whether a URL says whom to connect to: what its client would find out only later, or take for the default port.
fn has_hosts(scheme: &str, rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    // Postgres may have several, or a socket.
    let is_host = |host: &str| {
        let port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let (name, port) = port.map_or((host, None), |(name, port)| (name, Some(port)));
        !name.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok())
    };
    (scheme == "postgres" && hosts.is_empty()) || hosts.split(',').all(is_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_whom_to_connect_to() {
        let is_valid = |url: &str| {
            let form = format!("{}://HOST", url.split(':').next().unwrap_or_default());
            Problems::default().url("URL", url, &form).is_some()
        };
        for right in [
            "http://h",
            "http://h:4317",
            "http://[::1]:4317/",
            "http://[::1]",
            "amqp://u:p@h:5672/%2f",
            "postgres://u:p@h1:1,h2:2/d",
            "postgres:///d?host=/run/postgresql",
        ] {
            assert!(is_valid(right), "{right}");
        }
        for wrong in [
            "http:///",
            "http://:4317",
            "http://h:99999",
            "http://h:",
            "http://a b",
            "amqp://u:p@h:x/",
            "redis:///0",
        ] {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_url_has_the_scheme_that_is_spoken() {
        let said = |url: &str, form: &str| {
            let mut problems = Problems::default();
            problems.url("URL", url, form).unwrap_or_else(|| problems.into_error().to_string())
        };
        assert_eq!(said("postgresql://h/db", "postgres://HOST"), "postgresql://h/db");
        assert!(
            said("rediss://hunter2@h", "redis://HOST")
                .contains("TLS is not supported; expected redis://HOST")
        );
        assert!(said("", "redis://HOST").contains("is required, as redis://HOST"));
        for wrong in ["redis://", "h:6379", "http://h"] {
            assert!(said(wrong, "redis://HOST").contains("is not a URL of the form redis://HOST"), "{wrong}");
        }
    }

    #[test]
    fn a_duration_is_a_day_at_most() {
        let parsed = |value| Problems::default().duration("DRAIN_TIMEOUT", value);
        assert_eq!(parsed("1d"), Some(DURATION_MAX));
        for wrong in ["1d 1s", "300000000000y", "0s", "10"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
