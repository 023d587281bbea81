//! The methods of `snippets.v1` and their messages, as the contract has them: what is added there is tried without a word here.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// What the contract says.
pub struct Contract {
    /// In their order.
    pub methods: Vec<Method>,
    /// By their names, with the leading dot that types of fields have.
    messages: HashMap<String, DescriptorProto>,
}

/// A method.
#[derive(Debug, Clone)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: String,
    /// The name of its request's type.
    pub input: String,
}

impl Contract {
    /// As it was compiled.
    pub fn read() -> Self {
        let set = FileDescriptorSet::decode(rpc::FILE_DESCRIPTOR_SET).expect("the contracts are valid");
        let (mut methods, mut messages) = (Vec::new(), HashMap::new());
        for file in &set.file {
            let package = file.package();
            for message in &file.message_type {
                messages.insert(format!(".{package}.{}", message.name()), message.clone());
            }
            for service in file.service.iter().filter(|_| package == "snippets.v1") {
                methods.extend(service.method.iter().map(|method| Method {
                    path: format!("/{package}.{}/{}", service.name(), method.name()),
                    input: method.input_type().to_owned(),
                }));
            }
        }
        assert!(methods.len() >= 15);
        Self { methods, messages }
    }

    /// The fields of a message.
    pub fn fields(&self, message: &str) -> &[FieldDescriptorProto] {
        &self.messages.get(message).unwrap_or_else(|| panic!("no message {message}")).field
    }

    /// Whether that is a path into such a message: `snippet.tags[3]`.
    pub fn has_path(&self, message: &str, path: &str) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let (name, index) = first.split_once('[').map_or((first, None), |(name, index)| (name, Some(index)));
        let Some(field) = self.fields(message).iter().find(|field| field.name() == name) else {
            return false;
        };
        let indexed = index.is_none_or(|index| {
            let number = index.strip_suffix(']').and_then(|index| index.parse::<usize>().ok());
            field.label() == Label::Repeated && number.is_some()
        });
        let below =
            rest.is_none_or(|rest| field.r#type() == Type::Message && self.has_path(field.type_name(), rest));
        indexed && below
    }
}
