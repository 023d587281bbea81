//! A rules file as written: the shape of the YAML, with the place of each value, and nothing understood yet.

use serde::Deserialize;
use serde_saphyr::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub domain: Spanned<String>,
    pub descriptors: Option<Vec<RawNode>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNode {
    pub key: Spanned<String>,
    pub value: Option<Spanned<String>>,
    pub rate_limit: Option<Spanned<RawRateLimit>>,
    pub limits: Option<Vec<Spanned<RawLimit>>>,
    pub descriptors: Option<Vec<RawNode>>,
    #[serde(default)]
    pub shadow_mode: bool,
}

/// A limit as envoyproxy/ratelimit has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRateLimit {
    pub name: Option<Spanned<String>>,
    pub unit: Option<Spanned<String>>,
    #[serde(default)]
    pub requests_per_unit: u32,
    #[serde(default)]
    pub unlimited: bool,
}

/// A limit as only this service has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimit {
    pub name: Option<Spanned<String>>,
    pub algorithm: Option<Spanned<String>>,
    pub limit: Spanned<u64>,
    pub period: Spanned<String>,
    pub burst: Option<Spanned<u64>>,
    pub on_error: Option<Spanned<String>>,
    #[serde(default)]
    pub shadow_mode: bool,
}
