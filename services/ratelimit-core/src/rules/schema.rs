//! The JSON Schema of the format, for editors: generated from the types that files are read into, checked in as
//! `services/ratelimit/rules/schema.json`, and compared here with what it should be.

use std::{borrow::Cow, env, fs, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Value, json};

use super::{
    document::Document,
    error::Notes,
    limit::ON_ERROR,
    parse::parse,
    rate_limit::UNITS,
    read::At,
    yaml::{self, Content, Yaml},
};
use crate::algorithm::{Kind, LIMIT_MAX};

/// Says in place what a value looks like.
macro_rules! inline_schema {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

// Whatever it could be else, and quoted or not, it is read as text.
inline_schema!(At<String>, "Text", {"type": ["string", "number", "boolean"]});
inline_schema!(At<bool>, "Flag", {"type": "boolean"});
inline_schema!(At<u64>, "Number", {"type": "integer", "minimum": 0, "maximum": LIMIT_MAX});

pub(super) fn units() -> Vec<Option<String>> {
    let names = UNITS.map(|(name, _)| name.to_owned());
    let upper_case = names.clone().map(|name| name.to_uppercase());
    names.into_iter().chain(upper_case).map(Some).chain([None]).collect()
}

pub(super) fn algorithms() -> Vec<Option<&'static str>> {
    Kind::ALL.iter().map(|kind| Some(kind.name())).chain([None]).collect()
}

pub(super) fn on_error() -> Vec<Option<&'static str>> {
    ON_ERROR.iter().map(|(name, _)| Some(*name)).chain([None]).collect()
}

/// What the fields of a descriptor say about each other.
pub(super) fn descriptor_conditions() -> Value {
    let wildcard = json!({"type": "string", "pattern": "\\*$"});
    let by_key = json!({"properties": {"key": wildcard, "value": {"enum": [null, ""]}}});
    json!([{
        "if": is("share_threshold", &json!({"const": true})),
        "then": {"anyOf": [is("value", &wildcard), by_key]},
    }])
}

/// What the fields of a `rate_limit` say about each other.
pub(super) fn rate_limit_conditions() -> Value {
    json!([{
        "if": is("unlimited", &json!({"const": true})),
        "then": absent(&["unit"]),
        "else": is("unit", &json!({"type": "string"})),
    }])
}

/// What the fields of an entry of `limits` say about each other.
pub(super) fn limit_conditions() -> Value {
    let parameters = ["algorithm", "limit", "period", "burst", "time_zone", "on_error", "lease"];
    let calendar = json!({"enum": ["day", "week", "month"]});
    let slots = json!({"enum": ["leaky_bucket", "concurrency"]});
    json!([
        {
            "if": is("unlimited", &json!({"const": true})),
            "then": absent(&parameters),
            "else": {
                "properties": {"limit": {"type": "integer"}, "period": {"type": "string"}},
                "required": ["limit", "period"],
            },
        },
        {
            "if": is("algorithm", &json!({"const": "quota"})),
            "then": {"properties": {"period": calendar}},
            "else": {"properties": {"period": {"not": calendar}, "time_zone": {"type": "null"}}},
        },
        {"if": is("algorithm", &json!({"const": "token_bucket"})), "else": absent(&["burst"])},
        {"if": is("algorithm", &slots), "then": absent(&["lease"])},
    ])
}

fn is(field: &str, value: &Value) -> Value {
    json!({"properties": {field: value}, "required": [field]})
}

fn absent(fields: &[&str]) -> Value {
    let properties: serde_json::Map<_, _> =
        fields.iter().map(|field| ((*field).to_owned(), json!({"type": "null"}))).collect();
    json!({"properties": properties})
}

fn generated() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Document>();
    schema.insert("title".to_owned(), "Rate limit rules".into());
    let mut schema = schema.to_value();
    join_lines(&mut schema);
    schema
}

/// Comments have line breaks where a line of code ends; what an editor shows has none.
fn join_lines(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        Value::Object(fields) => {
            if let Some(Value::String(description)) = fields.get_mut("description") {
                *description = description.replace('\n', " ");
            }
            fields.values_mut().for_each(join_lines);
        }
        _ => {}
    }
}

fn rules_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../ratelimit/rules")
}

#[test]
fn what_is_checked_in_is_what_the_types_say() {
    let path = rules_folder().join("schema.json");
    let generated = format!("{:#}\n", generated());
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == generated,
        "services/ratelimit/rules/schema.json is stale: UPDATE_SCHEMA=1 cargo test -p ratelimit-core schema"
    );
}

/// All `.yaml` files of a folder, by name.
fn files(folder: PathBuf) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let yaml = entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    yaml.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect()
}

/// As an editor reads it; `None` where it is no YAML.
fn json(content: &[u8]) -> Option<Value> {
    let mut notes = Notes::default();
    let yaml = yaml::parse(std::str::from_utf8(content).ok()?, &mut notes)?;
    notes.is_empty().then(|| to_json(&yaml))
}

fn to_json(yaml: &Yaml) -> Value {
    match &yaml.content {
        Content::List(items) => items.iter().map(|item| to_json(item)).collect(),
        Content::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.value))).collect()
        }
        Content::Scalar { .. } if yaml.is_null() => Value::Null,
        // JSON's numbers and words are those of YAML.
        Content::Scalar { text, plain: true } => {
            serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
        }
        Content::Scalar { text, .. } => text.as_str().into(),
    }
}

#[test]
fn the_shipped_files_and_the_examples_are_valid() {
    let validator = jsonschema::validator_for(&generated()).unwrap();
    let shipped = files(rules_folder()).into_iter().chain(files(rules_folder().join("examples")));
    let mut seen = 0;
    for (name, content) in shipped {
        let errors: Vec<_> =
            validator.iter_errors(&json(&content).unwrap()).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        seen += 1;
    }
    assert!(seen > 1);
}

/// Malformed files with mistakes that a schema can't see.
const NOT_SEEN: [&str; 9] = [
    "descriptor_twice",
    "descriptors_too_deep",
    "inexact",
    "key_control_character",
    "name_taken",
    "period_out_of_range",
    "replaces_itself",
    "replaces_nothing",
    "time_zone_unknown",
];

#[test]
fn malformed_files_are_not() {
    let validator = jsonschema::validator_for(&generated()).unwrap();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/malformed_rules");
    let as_json = files(folder).into_iter().filter_map(|(name, content)| Some((name, json(&content)?)));
    let mut missed: Vec<_> =
        as_json.filter(|(_, json)| validator.is_valid(json)).map(|(name, _)| name).collect();
    missed.sort();
    assert_eq!(missed, NOT_SEEN);
}

/// The fields that are read at a place, as the note about another one names them.
fn known_fields(file: &str) -> Vec<String> {
    let errors = parse("rules.yaml", file.as_bytes()).unwrap_err();
    let (_, known) = errors
        .iter()
        .find_map(|error| error.reason.split_once("`zz`")?.1.split_once("known there: "))
        .unwrap();
    let mut known: Vec<_> = known.split(", ").map(str::to_owned).collect();
    known.sort();
    known
}

#[test]
fn the_fields_are_those_that_are_read() {
    let schema = generated();
    for (pointer, file) in [
        ("", "zz: 1"),
        ("/$defs/Descriptor", "descriptors: [{zz: 1}]"),
        ("/$defs/RateLimit", "descriptors: [{rate_limit: {zz: 1}}]"),
        ("/$defs/Limit", "descriptors: [{limits: [{zz: 1}]}]"),
        ("/$defs/Replaced", "descriptors: [{rate_limit: {replaces: [{zz: 1}]}}]"),
    ] {
        let properties = schema.pointer(&format!("{pointer}/properties")).unwrap().as_object().unwrap();
        assert_eq!(properties.keys().cloned().collect::<Vec<_>>(), known_fields(file), "{pointer}");
    }
}
