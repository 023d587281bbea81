//! One dead letter, and what can be told of it.

use broker::headers;
use chassis::propagation;
use chrono::{DateTime, SecondsFormat};
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable},
};
use sha2::{Digest as _, Sha256};

use crate::domain::{Batch, Malformed};

/// So much of a payload's SHA-256 names a letter that has no name of its own, in bytes.
const DIGEST_BYTES: usize = 8;
/// AMQP's number for a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// A letter that is held.
pub(super) struct Letter {
    /// Names it on the channel that holds it.
    pub(super) tag: u64,
    /// Names it on the command line.
    pub(super) id: String,
    pub(super) payload: Vec<u8>,
    pub(super) properties: BasicProperties,
}

/// What the broker wrote down when it set a message aside.
pub(super) struct Death {
    /// `rejected`, `delivery_limit` or another word of the broker's.
    pub(super) reason: String,
    /// How often it died so in that queue.
    pub(super) count: i64,
    pub(super) queue: String,
    /// In RFC 3339, to a second.
    pub(super) time: Option<String>,
}

impl From<Delivery> for Letter {
    fn from(delivery: Delivery) -> Self {
        let Delivery { delivery_tag: tag, properties, data: payload, .. } = delivery;
        let id = id(&properties, &payload);
        Self { tag, id, payload, properties }
    }
}

impl Letter {
    /// What a worker would say of it.
    pub(super) fn verdict(&self) -> Result<Batch, Malformed> {
        Batch::parse(&self.payload)
    }

    pub(super) fn headers(&self) -> Option<&FieldTable> {
        self.properties.headers().as_ref()
    }

    /// The last of its deaths.
    pub(super) fn death(&self) -> Option<Death> {
        let AMQPValue::FieldArray(deaths) = self.headers()?.inner().get("x-death")? else { return None };
        // The broker puts the last one first.
        match deaths.as_slice().first()? {
            AMQPValue::FieldTable(death) => Some(death.into()),
            _ => None,
        }
    }

    /// What it was published with, without what the broker has added since. Headers other than the trace's are left behind: some
    /// tell the broker where else to send a message.
    pub(super) fn properties_to_publish(&self) -> BasicProperties {
        let trace = headers::decode(self.headers(), &propagation::HEADERS);
        let trace = trace.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut properties =
            BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers::encode(trace));
        if let Some(content_type) = self.properties.content_type() {
            properties = properties.with_content_type(content_type.clone());
        }
        if let Some(message_id) = self.properties.message_id() {
            properties = properties.with_message_id(message_id.clone());
        }
        properties
    }
}

impl From<&FieldTable> for Death {
    fn from(death: &FieldTable) -> Self {
        let field = |name: &str| death.inner().get(name);
        let text = |name: &str| field(name).map(value_text).unwrap_or_default();
        let count = match field("count") {
            Some(AMQPValue::LongLongInt(count)) => *count,
            _ => 1,
        };
        let time = match field("time") {
            Some(AMQPValue::Timestamp(seconds)) => seconds_text(*seconds),
            _ => None,
        };
        Self { reason: text("reason"), count, queue: text("queue"), time }
    }
}

/// The message's own id where it can be typed as one word, else one made of the payload.
fn id(properties: &BasicProperties, payload: &[u8]) -> String {
    let own = properties.message_id().as_ref().map(lapin::types::ShortString::as_str);
    let typable =
        |id: &&str| !id.is_empty() && !id.starts_with('-') && id.bytes().all(|byte| byte.is_ascii_graphic());
    own.filter(typable).map_or_else(|| digest(payload), ToOwned::to_owned)
}

fn digest(payload: &[u8]) -> String {
    let hex = Sha256::digest(payload).into_iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

/// A point in time in RFC 3339, to a millisecond.
pub(super) fn time_text(seconds: i64, nanos: i32) -> Option<String> {
    let time = DateTime::from_timestamp(seconds, u32::try_from(nanos).ok()?)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn seconds_text(seconds: u64) -> Option<String> {
    let time = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A header's value for a terminal: nothing in it can steer one.
pub(super) fn value_text(value: &AMQPValue) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match value {
        AMQPValue::LongString(text) => escaped(&String::from_utf8_lossy(text.as_bytes())),
        AMQPValue::ShortString(text) => escaped(text.as_str()),
        AMQPValue::FieldArray(values) => {
            format!("[{}]", list(values.as_slice().iter().map(value_text).collect()))
        }
        AMQPValue::FieldTable(table) => {
            let field = |(name, value): (&lapin::types::ShortString, &AMQPValue)| {
                format!("{}: {}", escaped(name.as_str()), value_text(value))
            };
            format!("{{{}}}", list(table.inner().iter().map(field).collect()))
        }
        AMQPValue::Timestamp(seconds) => seconds_text(*seconds).unwrap_or_else(|| seconds.to_string()),
        AMQPValue::Boolean(flag) => flag.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// A stranger's text for a terminal.
pub(super) fn escaped(text: &str) -> String {
    text.escape_debug().collect()
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;

    fn letter(message_id: Option<&str>, headers: FieldTable) -> Letter {
        let mut delivery = Delivery::mock(7, "".into(), "".into(), false, b"payload".to_vec());
        delivery.properties = BasicProperties::default().with_headers(headers);
        if let Some(id) = message_id {
            delivery.properties = delivery.properties.clone().with_message_id(id.into());
        }
        delivery.into()
    }

    #[test]
    fn every_letter_has_a_name_that_can_be_typed() {
        let name = |id| letter(id, FieldTable::default()).id;
        assert_eq!(name(Some("0199-a")), "0199-a");
        for id in [None, Some(""), Some("--all"), Some("two words"), Some("\u{1b}[2J"), Some("ä")] {
            assert_eq!(name(id), "sha256:239f59ed55e737c7");
        }
    }

    #[test]
    fn only_what_the_publisher_said_is_published_again() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut headers =
            headers::encode([("traceparent", traceparent), ("x-first-death-reason", "rejected")]);
        headers.insert("CC".into(), AMQPValue::FieldArray(FieldArray::default()));
        let properties = letter(Some("a"), headers).properties_to_publish();
        assert_eq!(properties.message_id(), &Some("a".into()));
        assert_eq!(properties.delivery_mode(), &Some(PERSISTENT));
        assert_eq!(properties.headers(), &Some(headers::encode([("traceparent", traceparent)])));
    }

    #[test]
    fn the_last_death_is_told() {
        let death = |reason: &str| {
            let mut death = headers::encode([("reason", reason), ("queue", "views.batches")]);
            death.insert("count".into(), AMQPValue::LongLongInt(3));
            death.insert("time".into(), AMQPValue::Timestamp(1_700_000_000));
            AMQPValue::FieldTable(death)
        };
        let mut deaths = FieldArray::default();
        deaths.push(death("rejected"));
        deaths.push(death("expired"));
        let mut headers = FieldTable::default();
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
        let Death { reason, count, queue, time } = letter(None, headers).death().expect("it died");
        assert_eq!((reason.as_str(), count, queue.as_str()), ("rejected", 3, "views.batches"));
        assert_eq!(time.as_deref(), Some("2023-11-14T22:13:20Z"));
        assert!(letter(None, FieldTable::default()).death().is_none());
    }

    #[test]
    fn no_text_of_a_stranger_steers_the_terminal() {
        let hostile = AMQPValue::LongString("\u{1b}[2Jred\n".into());
        assert_eq!(value_text(&hostile), "\\u{1b}[2Jred\\n");
    }
}
