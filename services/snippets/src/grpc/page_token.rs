//! Page tokens: where a list goes on, in a form that is good for that list alone and that nobody else can make.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::sync::OnceCell;

use super::error::ApiError;
use crate::{
    domain::{Caller, Identity, PageTokenKey, Violation},
    ports::{PageTokenKeys, StoreError},
};

/// Bytes of an HMAC-SHA256.
const TAG_BYTES: usize = 32;

/// A list that is gone through page by page: its method, who goes through it, and the arguments that say what is in it and
/// in which order. A token of one list is of no use with another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List(Vec<u8>);

impl List {
    /// The list of that method, as the caller sees it. Anonymous callers are one: their addresses may change on the way.
    pub(super) fn new(method: &'static str, caller: &Caller) -> Self {
        let list = Self(Vec::new()).with(method);
        match &caller.identity {
            Identity::Anonymous => list.with("anonymous"),
            Identity::BootstrapAdmin => list.with("bootstrap admin"),
            Identity::Account(account) => list.with("account").with(account.id.0),
        }
    }

    /// With one more argument. All are to be given, always in the same order, also those that are not set; but not the size
    /// of a page, which may change on the way.
    #[must_use]
    pub(super) fn with(mut self, argument: impl AsRef<[u8]>) -> Self {
        let argument = argument.as_ref();
        // With its length, so that no two lists look the same put together.
        self.0.extend_from_slice(&(argument.len() as u64).to_be_bytes());
        self.0.extend_from_slice(argument);
        self
    }
}

/// Makes page tokens and knows them again: those of every replica, and of before a restart.
///
/// A token is the base64 of an HMAC over the list and the position, and of the position, which is thus no secret: it must not
/// say more than the page that it stands on.
pub(super) struct PageTokens {
    keys: Arc<dyn PageTokenKeys>,
    /// Read when it is first needed, as the store may be away at the start.
    key: OnceCell<PageTokenKey>,
}

impl PageTokens {
    pub(super) fn new(keys: Arc<dyn PageTokenKeys>) -> Self {
        Self { keys, key: OnceCell::new() }
    }

    /// The token of a position in a list.
    pub(super) async fn seal(&self, list: &List, position: &[u8]) -> Result<String, ApiError> {
        let tag = mac(self.key().await?, list, position)?.finalize().into_bytes();
        Ok(URL_SAFE_NO_PAD.encode([tag.as_slice(), position].concat()))
    }

    /// The position in the list that a token stands for. Any other token than one of this list is refused, as a violation
    /// of `page_token`.
    pub(super) async fn open(&self, list: &List, token: &str) -> Result<Vec<u8>, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        let (tag, position) = bytes.split_at_checked(TAG_BYTES).ok_or_else(refused)?;
        // Compares in constant time.
        mac(self.key().await?, list, position)?.verify_slice(tag).map_err(|_| refused())?;
        Ok(position.to_vec())
    }

    async fn key(&self) -> Result<&PageTokenKey, StoreError> {
        self.key.get_or_try_init(|| self.keys.page_token_key()).await
    }
}

/// What is wrong with a token that was not made for the list.
pub(super) fn refused() -> Violation {
    Violation::new(
        "page_token",
        "must be the next_page_token of the same list, asked for with the same arguments",
    )
}

fn mac(key: &PageTokenKey, list: &List, position: &[u8]) -> Result<Hmac<Sha256>, ApiError> {
    let mac = Hmac::<Sha256>::new_from_slice(key.expose());
    let mac = mac.map_err(|_| ApiError::Bug("HMAC takes a key of any length"))?;
    Ok(mac.chain_update((list.0.len() as u64).to_be_bytes()).chain_update(&list.0).chain_update(position))
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use async_trait::async_trait;

    use super::*;
    use crate::domain::{Account, AccountId, DisplayName, Tier, now};

    /// Away at first, if told so.
    pub(in crate::grpc) struct Keys {
        byte: u8,
        failures: usize,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl PageTokenKeys for Keys {
        async fn page_token_key(&self) -> Result<PageTokenKey, StoreError> {
            if self.asked.fetch_add(1, Ordering::SeqCst) < self.failures {
                return Err(StoreError::Unavailable("away".into()));
            }
            Ok(PageTokenKey::new(&[self.byte; 32]).unwrap())
        }
    }

    fn keys(byte: u8, failures: usize) -> Arc<Keys> {
        Arc::new(Keys { byte, failures, asked: AtomicUsize::new(0) })
    }

    pub(in crate::grpc) fn tokens() -> PageTokens {
        PageTokens::new(keys(1, 0))
    }

    fn caller(identity: Identity) -> Caller {
        Caller { address: IpAddr::V4(Ipv4Addr::LOCALHOST), identity }
    }

    fn account() -> Identity {
        let display_name = DisplayName::parse("Ada").unwrap();
        let (id, tier) = (AccountId::generate(), Tier::Free);
        Identity::Account(Account { id, display_name, tier, disabled: false, create_time: now() })
    }

    pub(in crate::grpc) fn list() -> List {
        List::new("List", &caller(Identity::Anonymous)).with("rust").with("")
    }

    fn is_refused(opened: Result<Vec<u8>, ApiError>) -> bool {
        matches!(opened, Err(ApiError::Invalid(wrong)) if wrong.iter().all(|violation| violation.field == "page_token"))
    }

    #[tokio::test]
    async fn a_token_gives_its_position_back_on_every_replica() {
        for position in [&b""[..], b"x", &[0; 100]] {
            let token = tokens().seal(&list(), position).await.unwrap();
            assert!(
                token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
                "{token}"
            );
            assert_eq!(tokens().open(&list(), &token).await.unwrap(), position);
        }
    }

    #[tokio::test]
    async fn every_changed_byte_is_refused() {
        let tokens = tokens();
        // Of 34 bytes, so that the last character has bits to spare.
        let token = tokens.seal(&list(), b"at").await.unwrap();
        for index in 0..token.len() {
            for byte in 0..=127 {
                let mut changed = token.clone().into_bytes();
                changed[index] = byte;
                let changed = String::from_utf8(changed).unwrap();
                assert!(changed == token || is_refused(tokens.open(&list(), &changed).await), "{changed}");
            }
        }
        let (shorter, longer) = (&token[..token.len() - 1], format!("{token}A"));
        for other in [shorter, &longer, "", "A", "not base64!", &"A".repeat(100), "ä"] {
            assert!(is_refused(tokens.open(&list(), other).await), "{other}");
        }
    }

    #[tokio::test]
    async fn a_token_is_good_for_its_list_alone() {
        let tokens = tokens();
        let token = tokens.seal(&list(), b"at").await.unwrap();
        let anonymous = caller(Identity::Anonymous);
        for other in [
            List::new("Lis", &anonymous).with("rust").with(""),
            List::new("List", &caller(account())).with("rust").with(""),
            List::new("List", &caller(Identity::BootstrapAdmin)).with("rust").with(""),
            List::new("List", &anonymous).with("").with("rust"),
            List::new("List", &anonymous).with("rust"),
            List::new("List", &anonymous).with("rust").with("").with(""),
            List::new("List", &anonymous).with("rus").with("t"),
        ] {
            assert!(is_refused(tokens.open(&other, &token).await), "{other:?}");
        }
        let another_key = PageTokens::new(keys(2, 0));
        assert!(is_refused(another_key.open(&list(), &token).await));
        let [one, two] = [(); 2].map(|()| List::new("List", &caller(account())));
        let of_one = tokens.seal(&one, b"at").await.unwrap();
        assert!(is_refused(tokens.open(&two, &of_one).await));
    }

    #[tokio::test]
    async fn the_key_is_read_once_and_as_soon_as_it_can_be() {
        let keys = keys(1, 1);
        let tokens = PageTokens::new(keys.clone());
        assert_eq!(keys.asked.load(Ordering::SeqCst), 0);
        assert!(matches!(
            tokens.seal(&list(), b"at").await,
            Err(ApiError::Store(StoreError::Unavailable(_)))
        ));
        for _ in 0..3 {
            tokens.seal(&list(), b"at").await.unwrap();
        }
        assert_eq!(keys.asked.load(Ordering::SeqCst), 2);
    }
}
