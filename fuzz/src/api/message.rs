//! Requests, made from the bytes of an input.

use arbitrary::{Result, Unstructured};
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::{
    FieldDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use crate::contract::Contract;

/// Elements of a repeated field: more than any has room for.
const ELEMENTS_MAX: u8 = 120;
/// Elements of a repeated field, mostly.
const FEW: u8 = 4;
/// How often a character is repeated: more often than any text has room for but a body.
const REPEATED_MAX: usize = 2000;

const TEXTS: [&str; 20] = [
    "me",
    "*",
    "title",
    "body",
    "tags",
    "visibility",
    "expire_time",
    "ttl",
    "display_name",
    "tier",
    "disabled",
    "id",
    "\0",
    "ä\u{301}",
    "v1",
    "v2",
    "0190b3a0-0000-7000-8000-000000000000",
    "0123456789a",
    "rust",
    "%00'\"\\",
];

/// Beside small ones: limits, times of this century and the next, the years 1 and 10,000, and sizes.
const NUMBERS: [i64; 16] = [
    -1,
    i64::MIN,
    i64::MAX,
    i32::MIN as i64,
    i32::MAX as i64,
    1 << 53,
    999_999_999,
    1_000_000_000,
    1_700_000_000,
    1_900_000_000,
    5_000_000_000,
    -62_135_596_800,
    253_402_300_799,
    253_402_300_800,
    100,
    201,
];

/// What was told before: ids, etags, tokens. Requests are made of these more often than not.
pub type Known = Vec<String>;

/// A message of that type. Each field is there or not; what is in it is mostly something that means something.
pub fn message(
    input: &mut Unstructured<'_>,
    contract: &Contract,
    name: &str,
    known: &Known,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for field in contract.fields(name) {
        let count = match (input.arbitrary::<u8>()?, field.label()) {
            (it, _) if it % 4 == 0 => 0,
            (255, Label::Repeated) => ELEMENTS_MAX,
            (it, Label::Repeated) => it / 4 % FEW,
            _ => 1,
        };
        for _ in 0..count {
            value(input, contract, field, known, &mut bytes)?;
        }
    }
    Ok(bytes)
}

fn value(
    input: &mut Unstructured<'_>,
    contract: &Contract,
    field: &FieldDescriptorProto,
    known: &Known,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    let number = field.number().unsigned_abs();
    let delimited = match field.r#type() {
        Type::String => text(input, known)?.into_bytes(),
        Type::Message => message(input, contract, field.type_name(), known)?,
        Type::Bool | Type::Enum | Type::Int32 | Type::Int64 | Type::Uint64 => {
            encode_key(number, WireType::Varint, bytes);
            encode_varint(self::number(input)?.cast_unsigned(), bytes);
            return Ok(());
        }
        other => panic!("{} is a {other:?}, of which none can be made yet", field.name()),
    };
    encode_key(number, WireType::LengthDelimited, bytes);
    encode_varint(delimited.len() as u64, bytes);
    bytes.extend(delimited);
    Ok(())
}

/// Any text, mostly one that means something.
pub fn text(input: &mut Unstructured<'_>, known: &Known) -> Result<String> {
    Ok(match input.arbitrary::<u8>()? % 8 {
        0 => String::new(),
        1 => {
            let length = usize::from(input.arbitrary::<u8>()?).min(input.len());
            String::from_utf8_lossy(input.bytes(length)?).into_owned()
        }
        2 => {
            let times = usize::from(input.arbitrary::<u16>()?) % REPEATED_MAX;
            input.choose(&["x", "ü", "a b", "\u{10ffff}"])?.repeat(times)
        }
        3 => (*input.choose(&TEXTS)?).to_owned(),
        _ if known.is_empty() => "some text".to_owned(),
        // The latest is the last.
        _ => known[known.len() - 1 - usize::from(input.arbitrary::<u8>()?) % known.len()].clone(),
    })
}

fn number(input: &mut Unstructured<'_>) -> Result<i64> {
    Ok(match input.arbitrary::<u8>()? % 8 {
        0 => *input.choose(&NUMBERS)?,
        1 => input.arbitrary()?,
        _ => i64::from(input.arbitrary::<u8>()? % 4),
    })
}
