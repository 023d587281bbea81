//! A rules file as written: its shape, with the place of each value. What the values mean is for others to say.
//!
//! The JSON Schema is made from these types, comments included: they are what an editor shows.

#[cfg(test)]
use super::{LIMITS_PER_NODE_MAX, NAME_BYTES_MAX, VALUE_BYTES_MAX, schema};
use super::{
    error::{Notes, Place},
    read::{At, Fields, Read},
    yaml::Yaml,
};

/// The limits of one domain.
#[derive(Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(super) struct Document {
    /// What requests name to be limited by this file. One domain, one file.
    #[cfg_attr(test, schemars(required, length(min = 1, max = NAME_BYTES_MAX)))]
    pub domain: Option<At<String>>,
    /// The first entries of the descriptors that requests send.
    #[cfg_attr(test, schemars(with = "Option<Vec<RawNode>>"))]
    pub descriptors: Vec<RawNode>,
}

/// An entry of a descriptor. A request matches it with the key and value that it sends at this level, and is limited by the
/// entry that its last key and value lead to.
#[derive(Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Descriptor", deny_unknown_fields))]
#[cfg_attr(test, schemars(extend("allOf" = schema::descriptor_conditions())))]
pub(super) struct RawNode {
    #[cfg_attr(test, schemars(skip))]
    pub place: Place,
    /// The entry's key. Without a value, a `*` at its end stands for whatever follows.
    #[cfg_attr(test, schemars(required, length(min = 1, max = NAME_BYTES_MAX)))]
    pub key: Option<At<String>>,
    /// The entry's value; a `*` at its end stands for whatever follows. Without: each value has a counter of its own.
    #[cfg_attr(test, schemars(length(max = VALUE_BYTES_MAX)))]
    pub value: Option<At<String>>,
    /// A limit as in envoyproxy/ratelimit.
    pub rate_limit: Option<RawRateLimit>,
    /// Further limits, each charged.
    #[cfg_attr(test, schemars(with = "Option<Vec<RawLimit>>", length(max = LIMITS_PER_NODE_MAX)))]
    pub limits: Vec<RawLimit>,
    /// The entries that may come next.
    #[cfg_attr(test, schemars(with = "Option<Vec<RawNode>>"))]
    pub descriptors: Vec<RawNode>,
    /// The limits here count, and never deny.
    pub shadow_mode: Option<At<bool>>,
    /// The limits here count, and never deny; Envoy is told in the response's metadata.
    pub quota_mode: Option<At<bool>>,
    /// The limits here are metered under the whole descriptor, values included.
    pub detailed_metric: Option<At<bool>>,
    /// This entry's value is part of what the limits here and below are metered under.
    pub value_to_metric: Option<At<bool>>,
    /// All that the `*` stands for shares one counter.
    pub share_threshold: Option<At<bool>>,
}

/// A limit as in envoyproxy/ratelimit: a fixed window of one unit of time, or none at all.
#[derive(Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RateLimit", deny_unknown_fields))]
#[cfg_attr(test, schemars(extend("allOf" = schema::rate_limit_conditions())))]
pub(super) struct RawRateLimit {
    #[cfg_attr(test, schemars(skip))]
    pub place: Place,
    /// What `replaces` calls it. Several may have the same name.
    #[cfg_attr(test, schemars(length(max = NAME_BYTES_MAX)))]
    pub name: Option<At<String>>,
    /// The length of the window; a month is 30 days, a year 365.
    #[cfg_attr(test, schemars(extend("enum" = schema::units())))]
    pub unit: Option<At<String>>,
    /// What passes in a window; 0, also where it is left out, denies everything.
    pub requests_per_unit: Option<At<u64>>,
    /// Nothing is counted, everything passes.
    pub unlimited: Option<At<bool>>,
    /// Limits that don't count when this one matches the same request.
    #[cfg_attr(test, schemars(with = "Option<Vec<RawReplaced>>"))]
    pub replaces: Vec<RawReplaced>,
}

/// A limit of any algorithm.
#[derive(Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Limit", deny_unknown_fields))]
#[cfg_attr(test, schemars(extend("allOf" = schema::limit_conditions())))]
pub(super) struct RawLimit {
    #[cfg_attr(test, schemars(skip))]
    pub place: Place,
    /// Names the limit in answers, metrics and `replaces`: unique within the domain. By default its place, such as
    /// `tier=premium/caller`.
    #[cfg_attr(test, schemars(length(max = NAME_BYTES_MAX)))]
    pub name: Option<At<String>>,
    /// How it counts; `fixed_window` by default.
    #[cfg_attr(test, schemars(extend("enum" = schema::algorithms())))]
    pub algorithm: Option<At<String>>,
    /// What passes each period; for `concurrency`, how many at a time.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub limit: Option<At<u64>>,
    /// The time that the limit is for, such as `200ms`, `10s` or `1h 30m`; `day`, `week` or `month` for `quota`; for
    /// `concurrency`, how long a slot is held at most.
    pub period: Option<At<String>>,
    /// For `token_bucket`: what passes at once; the limit by default.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub burst: Option<At<u64>>,
    /// For `quota`: the IANA time zone of its calendar, such as `Europe/Berlin`; `UTC` by default.
    pub time_zone: Option<At<String>>,
    /// While the counters can't be reached: `local` (the default) limits in each process by itself, `allow` lets pass,
    /// `deny` fails the request.
    #[cfg_attr(test, schemars(extend("enum" = schema::on_error())))]
    pub on_error: Option<At<String>>,
    /// For hot keys: how much a replica takes at once, to hand out by itself.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub lease: Option<At<u64>>,
    /// It counts, and never denies.
    pub shadow_mode: Option<At<bool>>,
    /// Nothing is counted, everything passes.
    pub unlimited: Option<At<bool>>,
    /// Limits that don't count when this one matches the same request.
    #[cfg_attr(test, schemars(with = "Option<Vec<RawReplaced>>"))]
    pub replaces: Vec<RawReplaced>,
}

/// A limit that is replaced.
#[derive(Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Replaced", deny_unknown_fields))]
pub(super) struct RawReplaced {
    /// Its name.
    #[cfg_attr(test, schemars(required, length(min = 1, max = NAME_BYTES_MAX)))]
    pub name: Option<At<String>>,
}

impl Read for Document {
    fn read(_: &str, yaml: &Yaml, notes: &mut Notes) -> Option<Self> {
        let mut fields = Fields::of("the file", "the file", yaml, notes)?;
        let document =
            Self { domain: fields.required("domain", "shop"), descriptors: fields.list("descriptors") };
        fields.finish(home);
        Some(document)
    }
}

impl Read for RawNode {
    fn read(what: &str, yaml: &Yaml, notes: &mut Notes) -> Option<Self> {
        let mut fields = Fields::of("a descriptor", what, yaml, notes)?;
        let node = Self {
            place: fields.place,
            key: fields.required("key", "caller"),
            value: fields.optional("value"),
            rate_limit: fields.optional("rate_limit"),
            limits: fields.list("limits"),
            descriptors: fields.list("descriptors"),
            shadow_mode: fields.optional("shadow_mode"),
            quota_mode: fields.optional("quota_mode"),
            detailed_metric: fields.optional("detailed_metric"),
            value_to_metric: fields.optional("value_to_metric"),
            share_threshold: fields.optional("share_threshold"),
        };
        fields.finish(home);
        Some(node)
    }
}

impl Read for RawRateLimit {
    fn read(what: &str, yaml: &Yaml, notes: &mut Notes) -> Option<Self> {
        let mut fields = Fields::of("a rate_limit", what, yaml, notes)?;
        let limit = Self {
            place: fields.place,
            name: fields.optional("name"),
            unit: fields.optional("unit"),
            requests_per_unit: fields.optional("requests_per_unit"),
            unlimited: fields.optional("unlimited"),
            replaces: fields.list("replaces"),
        };
        if !is_set(limit.unlimited.as_ref()) {
            fields.require("unit", "minute");
        }
        fields.finish(home);
        Some(limit)
    }
}

impl Read for RawLimit {
    fn read(what: &str, yaml: &Yaml, notes: &mut Notes) -> Option<Self> {
        let mut fields = Fields::of("an entry of limits", what, yaml, notes)?;
        let limit = Self {
            place: fields.place,
            name: fields.optional("name"),
            algorithm: fields.optional("algorithm"),
            limit: fields.optional("limit"),
            period: fields.optional("period"),
            burst: fields.optional("burst"),
            time_zone: fields.optional("time_zone"),
            on_error: fields.optional("on_error"),
            lease: fields.optional("lease"),
            shadow_mode: fields.optional("shadow_mode"),
            unlimited: fields.optional("unlimited"),
            replaces: fields.list("replaces"),
        };
        if !is_set(limit.unlimited.as_ref()) {
            fields.require("limit", "100");
            fields.require("period", "1m");
        }
        fields.finish(home);
        Some(limit)
    }
}

impl Read for RawReplaced {
    fn read(what: &str, yaml: &Yaml, notes: &mut Notes) -> Option<Self> {
        let mut fields = Fields::of("an entry of replaces", what, yaml, notes)?;
        let replaced = Self { name: fields.required("name", "writes") };
        fields.finish(home);
        Some(replaced)
    }
}

/// Where a field belongs.
fn home(field: &str) -> Option<&'static str> {
    match field {
        "domain" => Some("the top of the file"),
        "key" | "value" | "rate_limit" | "limits" | "descriptors" | "quota_mode" | "detailed_metric"
        | "value_to_metric" | "share_threshold" => Some("a descriptor"),
        "shadow_mode" => Some("a descriptor, beside rate_limit"),
        "unit" | "requests_per_unit" => Some("rate_limit"),
        "name" | "unlimited" | "replaces" => Some("rate_limit or an entry of limits"),
        "algorithm" | "limit" | "period" | "burst" | "time_zone" | "on_error" | "lease" => {
            Some("an entry of limits")
        }
        _ => None,
    }
}

impl RawNode {
    /// The value, where there is one: an empty one is none, as in envoyproxy/ratelimit.
    pub fn value(&self) -> Option<&At<String>> {
        self.value.as_ref().filter(|value| !value.value.is_empty())
    }
}

/// Whether a flag is there and set.
pub(super) fn is_set(flag: Option<&At<bool>>) -> bool {
    flag.is_some_and(|flag| flag.value)
}
