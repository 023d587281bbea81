//! Text headers of an AMQP message: they carry the W3C trace context.

use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

/// The longest value taken from a message, in bytes. A `tracestate` may be 512 long; nothing else is expected.
const VALUE_BYTES_MAX: usize = 1024;

/// The headers to publish with. A name longer than AMQP's 255 bytes is left out.
pub fn encode<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        if let Ok(name) = ShortString::try_new(name) {
            table.insert(name, AMQPValue::LongString(LongString::from(value)));
        }
    }
    table
}

/// The text headers `names` of a received message, those that are present, UTF-8 and not absurdly long.
pub fn decode(table: Option<&FieldTable>, names: &[&str]) -> Vec<(String, String)> {
    let values = table.map(FieldTable::inner);
    let found = names.iter().filter_map(|name| Some((*name, text(values?.get(*name)?)?)));
    found.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(value: &AMQPValue) -> Option<String> {
    let bytes = match value {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes(),
        _ => return None,
    };
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= VALUE_BYTES_MAX).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let table = encode([("traceparent", "00-aa-bb-01"), ("other", "x")]);
        let decoded = decode(Some(&table), &["traceparent", "tracestate"]);
        assert_eq!(decoded, [("traceparent".to_owned(), "00-aa-bb-01".to_owned())]);
    }

    #[test]
    fn hostile_headers_are_left_out() {
        let mut table = encode([("tracestate", "x".repeat(2000).as_str())]);
        table.insert("traceparent".into(), AMQPValue::LongLongInt(7));
        assert!(decode(Some(&table), &["traceparent", "tracestate"]).is_empty());
        assert!(decode(None, &["traceparent"]).is_empty());
    }
}
