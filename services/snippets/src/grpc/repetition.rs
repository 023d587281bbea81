//! How often an encoded message repeats a field, which is found out before it is decoded: a repetition of nothing takes two
//! bytes, and 24 in memory.

use crate::domain::Violation;

/// More than anybody has a use for, so that the usual limits have their say about what is a little too much.
const REPEATED_MAX: usize = 1000;

/// The fields that may be repeated in requests that write, as numbers: of the field that holds it, and its own.
const REPEATED: [(u64, u64, &str); 2] = [(1, 5, "snippet.tags"), (2, 1, "update_mask.paths")];

/// A violation of a field that is repeated far too often.
pub(super) fn check(message: &[u8]) -> Result<(), Violation> {
    for (outer, inner, name) in REPEATED {
        // What is there several times is merged.
        let holders = Fields(message).filter(|(number, _)| *number == outer);
        let repeated = holders.flat_map(|(_, holder)| Fields(holder)).filter(|(number, _)| *number == inner);
        if repeated.take(REPEATED_MAX + 1).count() > REPEATED_MAX {
            return Err(Violation::new(name, format!("must have far fewer than {REPEATED_MAX} entries")));
        }
    }
    Ok(())
}

/// The fields of an encoded message: their numbers, and the content of those that have a length. It ends where the decoder
/// would give up, and takes the fields of a group for the message's own, so that nothing hides from it.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        const NOTHING: &[u8] = &[];
        let key = self.varint()?;
        let content = match key & 7 {
            0 => self.varint().map(|_| NOTHING),
            1 => self.bytes(8),
            2 => self.varint().and_then(|length| self.bytes(length)),
            3 | 4 => Some(NOTHING),
            5 => self.bytes(4),
            _ => None,
        };
        Some((key >> 3, content?))
    }
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let length = self.0.iter().take(10).position(|byte| *byte < 0x80)? + 1;
        let (varint, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(varint.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f)))
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use prost_types::{FieldMask, Timestamp};
    use rpc::snippets::v1::{CreateSnippetRequest, Snippet, UpdateSnippetRequest};

    use super::*;

    fn refused(message: &[u8]) -> Option<String> {
        check(message).err().map(|violation| violation.field)
    }

    fn create(tags: usize) -> Vec<u8> {
        let snippet = Snippet {
            title: "t".repeat(300),
            body: "*\0".repeat(5000),
            tags: vec![String::new(); tags],
            max_views: u64::MAX,
            expire_time: Some(Timestamp { seconds: -1, nanos: 1 }),
            ..Snippet::default()
        };
        let request_id = "01020304-0506".into();
        CreateSnippetRequest { snippet: Some(snippet), request_id }.encode_to_vec()
    }

    #[test]
    fn finds_what_is_repeated_too_often_and_nothing_else() {
        assert_eq!(refused(&create(REPEATED_MAX)), None);
        assert_eq!(refused(&create(REPEATED_MAX + 1)).unwrap(), "snippet.tags");
        assert_eq!(refused(&[create(600), create(600)].concat()).unwrap(), "snippet.tags");
        let update_mask = Some(FieldMask { paths: vec!["body".into(); REPEATED_MAX + 1] });
        let update = UpdateSnippetRequest { snippet: None, update_mask }.encode_to_vec();
        assert_eq!(refused(&update).unwrap(), "update_mask.paths");
        assert_eq!(refused(b""), None);
    }

    #[test]
    fn nothing_hides_tags() {
        let tags = create(REPEATED_MAX + 1);
        let group = [&[0x7b], &tags[..], &[0x7c]].concat();
        for before in
            [&[0x78, 0xff, 0x01][..], &[0x79, 0, 0, 0, 0, 0, 0, 0, 0], &[0x7d, 0, 0, 0, 0], &[0x7b, 0x7c]]
        {
            assert!(refused(&[before, &tags].concat()).is_some(), "{before:?}");
        }
        assert!(refused(&group).is_some());
    }

    proptest! {
        #[test]
        fn whatever_is_decoded_has_no_more_than_was_counted(message: Vec<u8>, tags in 0_usize..3) {
            let message = [message, create(tags)].concat();
            if let Ok(decoded) = CreateSnippetRequest::decode(&message[..]) {
                let tags = decoded.snippet.map_or(0, |snippet| snippet.tags.len());
                let counted = Fields(&message).filter(|it| it.0 == 1).flat_map(|it| Fields(it.1)).filter(|it| it.0 == 5);
                prop_assert!(counted.count() >= tags);
            }
        }
    }
}
