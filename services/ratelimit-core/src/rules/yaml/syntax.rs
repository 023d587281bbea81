//! What the parser can't read, in words that help.

use granit_parser::{ErrorKind, Marker, ScanError};

use super::NESTING_MAX;
use crate::rules::error::{Mistake, Place};

pub(super) fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

pub(super) fn mistake(error: &ScanError) -> Mistake {
    (place(error.marker()), reason(error))
}

pub(super) fn too_deep() -> String {
    format!("lists and mappings are nested deeper than {NESTING_MAX}")
}

fn reason(error: &ScanError) -> String {
    match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => "a tab can't indent YAML; write spaces".to_owned(),
        ErrorKind::RecursionLimitExceeded => too_deep(),
        ErrorKind::UnknownAnchor | ErrorKind::MissingAnchorOrAliasName => {
            "an unquoted * or & begins an alias or an anchor; put a text such as \"*\" in quotes".to_owned()
        }
        ErrorKind::MappingValueNotAllowed => {
            "this is not valid YAML: a \": \" within a text; put the text in quotes".to_owned()
        }
        _ => format!("this is not valid YAML: {}", error.info()),
    }
}
