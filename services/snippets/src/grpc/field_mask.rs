//! Which fields of a resource an update changes.

use prost_types::FieldMask;

use crate::domain::{Violation, Violations};

/// How many characters of a path are repeated that names no field.
const PATH_CHARS_TOLD: usize = 40;

/// The fields of a resource, by whether an update may name them.
pub(super) struct Fields {
    /// What it is: `an account`.
    pub(super) resource: &'static str,
    /// Those that can be changed.
    pub(super) mutable: &'static [&'static str],
    /// Those that can't.
    pub(super) fixed: &'static [&'static str],
}

impl Fields {
    /// Those that the mask names; all that can be changed if it is `*`; without a mask those that are `set`. Violations of
    /// `update_mask` when it names any other, or when there is nothing to change.
    pub(super) fn chosen(
        &self,
        mask: Option<FieldMask>,
        set: Vec<&'static str>,
    ) -> Result<Vec<&'static str>, Violations> {
        let fields = match mask.map(|mask| mask.paths) {
            None => set,
            Some(paths) if paths == ["*"] => self.mutable.to_vec(),
            Some(paths) => self.named(&paths)?,
        };
        if fields.is_empty() {
            return Err(Violation::new("update_mask", "must name a field, or a field must be set").into());
        }
        Ok(fields)
    }

    fn named(&self, paths: &[String]) -> Result<Vec<&'static str>, Violations> {
        let mut violations = Violations::default();
        let mut fields = Vec::new();
        for path in paths {
            match self.mutable.iter().find(|name| *name == path) {
                Some(field) => fields.push(*field),
                None => violations.push(Violation::new("update_mask", self.refusal(path))),
            }
        }
        violations.into_result()?;
        Ok(fields)
    }

    fn refusal(&self, path: &str) -> String {
        if path == "*" {
            "\"*\" must stand alone".to_owned()
        } else if self.fixed.contains(&path) {
            format!("{path:?} can't be changed")
        } else {
            // An error has to fit into a client's headers, however long a path is, and whatever it takes to write it.
            let mut path = path.escape_debug();
            let told: String = path.by_ref().take(PATH_CHARS_TOLD).collect();
            let more = if path.next().is_some() { "..." } else { "" };
            format!("\"{told}\"{more} is no field of {}; expected {}", self.resource, self.mutable.join(", "))
        }
    }
}
