//! From values to the fields of a type, noting whatever does not fit and going on.

use super::{
    error::{Notes, Place},
    yaml::{Content, Entry, NotANumber, Yaml},
};

/// What a file can hold. `what` names the value in a note; `None` where one was made.
pub(super) trait Read: Sized {
    fn read(what: &str, yaml: &Yaml, notes: &mut Notes) -> Option<Self>;
}

/// A value with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At<T> {
    pub place: Place,
    pub value: T,
}

impl Read for At<String> {
    fn read(what: &str, yaml: &Yaml, notes: &mut Notes) -> Option<Self> {
        let text = yaml.text().ok_or_else(|| format!("{what} is a text, not {}", yaml.kind()));
        notes.ok(yaml.place, text).map(|text| Self { place: yaml.place, value: text.to_owned() })
    }
}

impl Read for At<bool> {
    fn read(what: &str, yaml: &Yaml, notes: &mut Notes) -> Option<Self> {
        let value = yaml.boolean().ok_or_else(|| format!("{what} is true or false, not {}", shown(yaml)));
        notes.ok(yaml.place, value).map(|value| Self { place: yaml.place, value })
    }
}

impl Read for At<u64> {
    fn read(what: &str, yaml: &Yaml, notes: &mut Notes) -> Option<Self> {
        let value = yaml.whole_number().map_err(|error| match error {
            NotANumber::Negative => format!("{what} can't be negative"),
            NotANumber::Other => {
                format!("{what} is a whole number without quotes, such as 100, not {}", shown(yaml))
            }
        });
        notes.ok(yaml.place, value).map(|value| Self { place: yaml.place, value })
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(what: &str, yaml: &Yaml, notes: &mut Notes) -> Option<Self> {
        let Content::List(items) = &yaml.content else {
            notes.note(
                yaml.place,
                format_args!("{what} is a list, whose lines begin with `- `, not {}", shown(yaml)),
            );
            return None;
        };
        let what = format!("an entry of {what}");
        Some(items.iter().filter_map(|item| T::read(&what, item, notes)).collect())
    }
}

/// The fields of a mapping, asked for by name.
pub(super) struct Fields<'a> {
    pub place: Place,
    what: &'static str,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
    notes: &'a mut Notes,
}

impl<'a> Fields<'a> {
    /// Those of a mapping. Notes call it by `what` it is, such as `a descriptor`, and by `value`, such as `an entry of
    /// descriptors`, where it is no mapping.
    pub fn of(what: &'static str, value: &str, yaml: &'a Yaml, notes: &'a mut Notes) -> Option<Self> {
        let Content::Map(entries) = &yaml.content else {
            notes.note(yaml.place, format_args!("{value} is a mapping of fields, not {}", shown(yaml)));
            return None;
        };
        Some(Self { place: yaml.place, what, entries, asked: Vec::new(), notes })
    }

    /// The field's value; none where it is absent or null.
    pub fn optional<T: Read>(&mut self, name: &'static str) -> Option<T> {
        self.asked.push(name);
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        if entry.value.is_null() {
            return None;
        }
        T::read(&format!("`{name}`"), &entry.value, self.notes)
    }

    /// The field's value, with a note where it is absent or null.
    pub fn required<T: Read>(&mut self, name: &'static str, example: &str) -> Option<T> {
        self.require(name, example);
        self.optional(name)
    }

    /// Notes where a field is absent or null.
    pub fn require(&mut self, name: &str, example: &str) {
        if !self.entries.iter().any(|entry| entry.key == name && !entry.value.is_null()) {
            let reason = format_args!("{} needs a `{name}`, such as `{name}: {example}`", self.what);
            self.notes.note(self.place, reason);
        }
    }

    /// The entries of a list; none where it is absent or null.
    pub fn list<T: Read>(&mut self, name: &'static str) -> Vec<T> {
        self.optional(name).unwrap_or_default()
    }

    /// Notes all fields that nobody asked for. `home` tells where else a field of that name belongs.
    pub fn finish(self, home: impl Fn(&str) -> Option<&'static str>) {
        let Self { what, entries, asked, notes, .. } = self;
        for entry in entries.iter().filter(|entry| !asked.contains(&entry.key.as_str())) {
            let hint = match (home(&entry.key), nearest(&entry.key, asked.iter().copied())) {
                (Some(home), _) => format!(" (it belongs into {home})"),
                (None, Some(name)) => format!(" (did you mean `{name}`?)"),
                (None, None) => String::new(),
            };
            let name = escaped(&entry.key);
            let known = asked.join(", ");
            notes.note(
                entry.place,
                format_args!("unknown field `{name}` in {what}{hint}; known there: {known}"),
            );
        }
    }
}

/// What a word stands for. `what` it is for goes into the note.
pub(super) fn one_of<T: Copy>(what: &str, word: &str, known: &[(&str, T)]) -> Result<T, String> {
    known.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let (last, others) = names.split_last().unwrap_or((&"", &[]));
        let hint = nearest(word, names.iter().copied()).map(|name| format!("; did you mean {name}?"));
        let (others, hint) = (others.join(", "), hint.unwrap_or_default());
        format!("{what} {:?} is unknown, it can be {others} or {last}{hint}", shortened(word))
    })
}

/// The known word that was likely meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = shortened(word).to_lowercase();
    let slips_max = (word.len() / 3).min(3);
    let slips = |known: &str| strsim::damerau_levenshtein(&word, &known.to_lowercase());
    let candidates = known.into_iter().map(|known| (slips(known), known));
    candidates
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, known)| known)
}

/// What stands there, for a note.
fn shown(yaml: &Yaml) -> String {
    match yaml.text().filter(|_| !yaml.is_null()) {
        None => yaml.kind().to_owned(),
        Some(text) => format!("{:?}", shortened(text)),
    }
}

/// The beginning of what may be long, on one line and without control characters, for a note.
pub(super) fn escaped(text: &str) -> String {
    shortened(text).escape_debug().to_string()
}

/// The beginning of what may be long, for a note.
pub(super) fn shortened(text: &str) -> &str {
    const CHARS_MAX: usize = 60;
    text.char_indices().nth(CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}
