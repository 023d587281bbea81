//! API keys, by which a caller proves its account.

use super::{AccountId, Violation, content::bounded};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::{
    fmt::{self, Write as _},
    sync::Arc,
};
use uuid::Uuid;

/// Keys of one account that are not revoked, at most.
pub const API_KEYS_MAX: u16 = 100;

const NAME_CHARS_MAX: usize = 200;

/// The name of an API key. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApiKeyId(pub Uuid);

impl ApiKeyId {
    /// A fresh id, sorting after those made before it.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Accepts a UUID; a [`Violation`] of the field `id` otherwise.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        Uuid::try_parse(text).map(Self).map_err(|_| Violation::new("id", "must be a UUID"))
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Up to 200 characters without NUL; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiKeyName(Arc<str>);

impl ApiKeyName {
    /// A [`Violation`] of the field `display_name` when it is too long or contains NUL.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, Violation> {
        bounded("display_name", text.into(), NAME_CHARS_MAX).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key as it is kept: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name.
    pub id: ApiKeyId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What people call it.
    pub display_name: ApiKeyName,
    /// When it was made, in whole microseconds.
    pub create_time: DateTime<Utc>,
    /// When it ceases to be accepted, if ever.
    pub expire_time: Option<DateTime<Utc>>,
    /// When it was revoked, if it was.
    pub revoke_time: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// Whether it is neither revoked nor expired.
    pub fn is_valid_at(&self, now: DateTime<Utc>) -> bool {
        self.revoke_time.is_none() && self.expire_time.is_none_or(|expire_time| now < expire_time)
    }
}

/// The secret half of a key, shown to its holder once. Never prints.
#[derive(Debug, Clone)]
pub struct ApiKeySecret(SecretString);

impl ApiKeySecret {
    /// `snip_` and 256 random bits in hexadecimal: the prefix lets scanners find leaked keys.
    pub fn generate() -> Self {
        let bits: [u8; 32] = rand::random();
        let mut text = String::with_capacity(5 + 2 * bits.len());
        text.push_str("snip_");
        for byte in bits {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text.into())
    }

    /// What is stored in its place.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.expose())
    }

    /// The text, to be handed to its holder.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The SHA-256 of a secret. The secret has 256 random bits, so that no slow hash is needed to protect it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a secret as a caller sent it.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_secret_never_prints() {
        let secret = ApiKeySecret::generate();
        let random_part = secret.expose().strip_prefix("snip_").unwrap();
        assert_eq!(random_part.len(), 64);
        assert!(!format!("{secret:?} {:?}", secret.hash()).contains(random_part));
    }

    #[test]
    fn a_key_is_valid_until_it_expires_or_is_revoked() {
        let now = super::super::now();
        let key = ApiKey {
            id: ApiKeyId::generate(),
            account_id: AccountId::generate(),
            display_name: ApiKeyName::default(),
            create_time: now,
            expire_time: Some(now + TimeDelta::seconds(1)),
            revoke_time: None,
        };
        assert!(key.is_valid_at(now));
        assert!(!key.is_valid_at(now + TimeDelta::seconds(1)));
        assert!(!ApiKey { expire_time: None, revoke_time: Some(now), ..key.clone() }.is_valid_at(now));
        assert!(ApiKey { expire_time: None, ..key }.is_valid_at(now + TimeDelta::days(10_000)));
    }
}
