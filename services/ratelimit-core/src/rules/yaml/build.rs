//! From the parser's events to values: aliases and merge keys resolved, repeated keys refused.

use std::{collections::HashMap, rc::Rc};

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{Content, Entry, KEYS_MAX, NESTING_MAX, VALUES_MAX, Yaml, syntax};
use crate::rules::{
    error::{Mistake, Notes, Place},
    read::escaped,
};

pub(super) fn build(text: &str, notes: &mut Notes) -> Result<Option<Rc<Yaml>>, Mistake> {
    let options = granit_parser::options! {
        flow_nesting_limit: NESTING_MAX,
        block_nesting_limit: NESTING_MAX,
    };
    let mut builder = Builder { root: None, open: Vec::new(), anchors: HashMap::new(), values: 0, notes };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| syntax::mistake(&error))?;
        builder.take(event, &span)?;
    }
    Ok(builder.root.filter(|root| !root.is_null()))
}

struct Builder<'n> {
    root: Option<Rc<Yaml>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Yaml>>,
    values: usize,
    notes: &'n mut Notes,
}

/// A list or mapping whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    content: Content,
    /// The key whose value comes next.
    key: Option<Rc<Yaml>>,
    /// What `<<` names.
    merged: Vec<Rc<Yaml>>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Mistake> {
        let place = syntax::place(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = self.is_plain(style, tag.as_deref(), place);
                let scalar = Yaml::new(place, Content::Scalar { text: text.into_owned(), plain });
                self.finished(scalar, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(place, anchor, Content::List(Vec::new()), tag.as_deref());
                Ok(())
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(place, anchor, Content::Map(Vec::new()), tag.as_deref());
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, place),
            _ => Ok(()),
        }
    }

    /// Whether a scalar may be something else than text.
    fn is_plain(&mut self, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> bool {
        self.check_tag(tag, place);
        let is = |name| tag.is_some_and(|tag| tag.is_yaml_core_schema_tag(name));
        !is("str") && (style == ScalarStyle::Plain || is("int") || is("bool"))
    }

    fn check_tag(&mut self, tag: Option<&Tag>, place: Place) {
        const KNOWN: [&str; 6] = ["str", "int", "bool", "null", "seq", "map"];
        if let Some(tag) = tag.filter(|tag| !KNOWN.iter().any(|known| tag.is_yaml_core_schema_tag(known))) {
            let tag = escaped(&tag.original());
            self.notes.note(place, format_args!("the tag {tag} means nothing here; leave it out"));
        }
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content, tag: Option<&Tag>) {
        self.check_tag(tag, place);
        self.open.push(Open { place, anchor, content, key: None, merged: Vec::new() });
    }

    fn close(&mut self) -> Result<(), Mistake> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        self.merge(&mut open);
        self.finished(Yaml::new(open.place, open.content), open.anchor)
    }

    fn finished(&mut self, value: Yaml, anchor: usize) -> Result<(), Mistake> {
        let value = Rc::new(value);
        // 0 is no anchor.
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&value));
        }
        if value.depth > NESTING_MAX {
            return Err((value.place, syntax::too_deep()));
        }
        self.count(1, value.place)?;
        self.put(value)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Mistake> {
        let value = self.anchors.get(&anchor).map(Rc::clone);
        let value = value.ok_or_else(|| (place, "an alias can't stand within what it repeats".to_owned()))?;
        self.count(value.size, place)?;
        self.put(value)
    }

    fn count(&mut self, values: usize, place: Place) -> Result<(), Mistake> {
        self.values = self.values.saturating_add(values);
        if self.values <= VALUES_MAX {
            return Ok(());
        }
        let reason = format!("there are more than {VALUES_MAX} values, with those that aliases repeat");
        Err((place, reason))
    }

    fn put(&mut self, value: Rc<Yaml>) -> Result<(), Mistake> {
        let Some(open) = self.open.last_mut() else { return self.put_root(value) };
        match (&mut open.content, open.key.take()) {
            (Content::List(items), _) => items.push(value),
            (_, None) => open.key = Some(value),
            (_, Some(key)) => self.put_entry(&key, value),
        }
        Ok(())
    }

    /// Empty documents, as a `---` at the end makes them, are passed over.
    fn put_root(&mut self, value: Rc<Yaml>) -> Result<(), Mistake> {
        match &self.root {
            Some(_) if value.is_null() => Ok(()),
            Some(root) if !root.is_null() => {
                let reason = "a second document begins here; a file has one, and is one domain";
                Err((value.place, reason.to_owned()))
            }
            _ => {
                self.root = Some(value);
                Ok(())
            }
        }
    }

    fn put_entry(&mut self, key: &Yaml, value: Rc<Yaml>) {
        let Some(Open { content: Content::Map(entries), merged, .. }) = self.open.last_mut() else { return };
        let Content::Scalar { text, plain } = &key.content else {
            self.notes.note(key.place, format_args!("the name of a field is a text, not {}", key.kind()));
            return;
        };
        if *plain && text == "<<" {
            merged.push(value);
        } else if let Some(first) = entries.iter().find(|entry| entry.key == *text) {
            let reason = format_args!("`{}` is there twice, first at {}", escaped(text), first.place);
            self.notes.note(key.place, reason);
        } else if entries.len() == KEYS_MAX {
            self.notes.note(key.place, format_args!("a mapping has at most {KEYS_MAX} fields"));
        } else {
            entries.push(Entry { key: text.clone(), place: key.place, value });
        }
    }

    /// What the mapping itself says goes before what is merged into it, and that in the order in which it is named.
    fn merge(&mut self, open: &mut Open) {
        let Content::Map(entries) = &mut open.content else { return };
        for value in std::mem::take(&mut open.merged) {
            let sources = match &value.content {
                Content::List(sources) => sources.as_slice(),
                _ => std::slice::from_ref(&value),
            };
            for source in sources {
                let Content::Map(merged) = &source.content else {
                    self.notes.note(source.place, "`<<` takes mappings, such as `<<: *defaults`");
                    continue;
                };
                let new = merged.iter().filter(|new| entries.iter().all(|known| known.key != new.key));
                let new: Vec<_> = new.cloned().collect();
                if entries.len() + new.len() > KEYS_MAX {
                    self.notes.note(value.place, format_args!("a mapping has at most {KEYS_MAX} fields"));
                    return;
                }
                entries.extend(new);
            }
        }
    }
}
