//! What the broker says of an exchange or a queue that is there already, and is not as it must be.

use std::fmt::{self, Display, Formatter};

/// An exchange or queue exists with other properties than the topology wants. Only an operator can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mismatch {
    /// `exchange` or `queue`.
    pub what: &'static str,
    /// Its name.
    pub name: &'static str,
    /// In what it differs.
    pub difference: Difference,
}

/// In what an exchange or queue differs from the topology's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// In this argument or property; the broker names but the first that it finds.
    Argument {
        /// By the broker's name, such as `x-delivery-limit` or `durable`.
        name: String,
        /// The value that was declared, or `none`.
        wanted: String,
        /// The value that is there, or `none`.
        found: String,
    },
    /// In something that the broker has told in words of its own.
    Told(String),
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { what, name, difference } = self;
        // Whatever a queue holds goes with it; an exchange holds nothing.
        let when = if *what == "queue" { " once it is empty" } else { "" };
        write!(
            f,
            "the {what} {name} is not as it must be: {difference}; restore it, or delete the {what}{when}: \
             it is declared anew at the next attempt"
        )
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument { name, wanted, found } => {
                write!(f, "{name} is {found} instead of {wanted}, and further ones may differ")
            }
            Self::Told(text) => f.write_str(text),
        }
    }
}

impl Difference {
    /// Reads the text of RabbitMQ's 406 PRECONDITION_FAILED, the same in 3.10 and 4.x:
    ///
    /// ```text
    /// PRECONDITION_FAILED - inequivalent arg 'NAME' for queue 'QUEUE' in vhost '/': received WANTED but current is FOUND
    /// ```
    ///
    /// where either value is `none`, `'100'`, or `the value '100' of type 'signedint'`. The broker cuts it off at 255 bytes,
    /// as where the name of the virtual host is long; what can't be read is kept whole.
    pub(crate) fn parse(text: &str) -> Self {
        Self::parse_argument(text).unwrap_or_else(|| Self::Told(text.to_owned()))
    }

    fn parse_argument(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("inequivalent arg '")?;
        let (name, rest) = rest.split_once("' for ")?;
        // From the end: a virtual host may be called anything.
        let (rest, found) = rest.rsplit_once(" but current is ")?;
        let (_, wanted) = rest.rsplit_once(": received ")?;
        Some(Self::Argument { name: name.to_owned(), wanted: value(wanted)?, found: value(found)? })
    }
}

fn value(text: &str) -> Option<String> {
    if text == "none" {
        return Some(text.to_owned());
    }
    let quoted = match text.strip_prefix("the value ") {
        Some(typed) => typed.rsplit_once(" of type ")?.0,
        None => text,
    };
    Some(quoted.strip_prefix('\'')?.strip_suffix('\'')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(name: &str, wanted: &str, found: &str) -> Difference {
        Difference::Argument { name: name.to_owned(), wanted: wanted.to_owned(), found: found.to_owned() }
    }

    // As 3.10.8 and 4.0.5 have said them.
    #[test]
    fn what_the_broker_says_is_understood() {
        let cases = [
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'views.batches' in vhost '/': \
                 received '100' but current is '20'",
                argument("x-delivery-limit", "100", "20"),
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'views.batches' in vhost '/': \
                 received the value '100' of type 'signedint' but current is none",
                argument("x-delivery-limit", "100", "none"),
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'views.batches' in vhost \
                 'a: received b but current is 'c'': received none but current is the value '10' of type 'long'",
                argument("x-max-length", "none", "10"),
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'views' in vhost '/': received 'direct' \
                 but current is 'fanout'",
                argument("type", "direct", "fanout"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Difference::parse(text), expected);
        }
    }

    #[test]
    fn what_is_not_understood_is_kept_whole() {
        for text in [
            "PRECONDITION_FAILED - invalid property 'exclusive' for queue 'views.batches'",
            "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'views.batches' in vhost 'long...",
            "PRECONDITION_FAILED - inequivalent arg 'x' for queue 'q' in vhost '/': received 'y' but current is 'z...",
            "",
        ] {
            assert_eq!(Difference::parse(text), Difference::Told(text.to_owned()));
        }
    }

    #[test]
    fn it_says_what_differs_and_what_to_do() {
        let mismatch = |what, name, difference| Mismatch { what, name, difference }.to_string();
        assert_eq!(
            mismatch("queue", "views.batches", argument("x-delivery-limit", "100", "20")),
            "the queue views.batches is not as it must be: x-delivery-limit is 20 instead of 100, and further ones \
             may differ; restore it, or delete the queue once it is empty: it is declared anew at the next attempt"
        );
        assert_eq!(
            mismatch("exchange", "views", Difference::Told("whatever".to_owned())),
            "the exchange views is not as it must be: whatever; restore it, or delete the exchange: it is declared \
             anew at the next attempt"
        );
    }
}
