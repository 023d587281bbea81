//! The secret of page tokens.

use secrecy::{ExposeSecret as _, SecretBox};

/// 32 random bytes, by which the service knows the page tokens that it has handed out. Never prints.
#[derive(Debug)]
pub struct PageTokenKey(SecretBox<[u8; 32]>);

impl PageTokenKey {
    /// The key with these bytes, if they are 32.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        Some(Self(SecretBox::new(Box::new(bytes.try_into().ok()?))))
    }

    /// Its bytes.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_32_bytes_and_never_prints() {
        let key = PageTokenKey::new(&[77; 32]).unwrap();
        assert_eq!(key.expose(), &[77; 32]);
        assert!(!format!("{key:?}").contains("77"));
        assert!(PageTokenKey::new(&[77; 31]).is_none() && PageTokenKey::new(&[77; 33]).is_none());
    }
}
