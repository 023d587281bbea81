//! How a load is spread over connections.

use std::fmt;
use std::str::FromStr;

/// Connections, and calls in flight on each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) connections: u16,
    pub(crate) streams: u16,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('x').and_then(|(c, m)| Some((c.parse().ok()?, m.parse().ok()?)));
        match numbers {
            Some((connections @ 1.., streams @ 1..)) => Ok(Self { connections, streams }),
            _ => Err("expected CONNECTIONSxSTREAMS, such as 4x16".to_owned()),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.connections, self.streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        let shape: Shape = "4x16".parse().unwrap();
        assert_eq!(shape, Shape { connections: 4, streams: 16 });
        assert_eq!(shape.to_string(), "4x16");
        for wrong in ["", "4", "4x", "0x1", "1x0", "x", "-1x1", "70000x1"] {
            assert!(wrong.parse::<Shape>().is_err(), "{wrong}");
        }
    }
}
