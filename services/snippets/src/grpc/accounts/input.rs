//! What admins send, validated: all that is wrong with it is reported at once.

use rpc::snippets::v1 as pb;

use super::super::{error::ApiError, field_mask::Fields, messages};
use crate::domain::{
    Account, AccountId, AccountPatch, ApiKey, ApiKeyId, ApiKeyName, DisplayName, Violation, Violations, now,
    to_micros,
};

const FIELDS: Fields = Fields {
    resource: "an account",
    mutable: &["display_name", "tier", "disabled"],
    fixed: &["id", "create_time"],
};

pub(super) fn new_account(message: Option<pb::Account>) -> Result<Account, ApiError> {
    let message = message.ok_or_else(|| Violation::new("account", "is required"))?;
    let mut violations = Violations::default();
    let display_name = violations.check("account", DisplayName::parse(message.display_name));
    let tier = violations.check("account", messages::tier(message.tier));
    match (display_name, tier) {
        (Some(display_name), Some(tier)) => {
            let id = AccountId::generate();
            Ok(Account { id, display_name, tier, disabled: message.disabled, create_time: now() })
        }
        _ => Err(violations.into()),
    }
}

/// Which account is edited, and what of it.
pub(super) fn edit(request: pb::UpdateAccountRequest) -> Result<(AccountId, AccountPatch), ApiError> {
    let message = request.account.ok_or_else(|| Violation::new("account", "is required"))?;
    let mut violations = Violations::default();
    let id = violations.check("account", AccountId::parse(&message.id));
    let fields = violations.check("", FIELDS.chosen(request.update_mask, set_fields(&message)));
    let patch = violations.check("account", patch(message, &fields.unwrap_or_default()));
    match (id, patch) {
        (Some(id), Some(patch)) if violations.is_empty() => Ok((id, patch)),
        _ => Err(violations.into()),
    }
}

/// `false` can't be told from a field that is not set: it takes a mask to enable an account again.
fn set_fields(message: &pb::Account) -> Vec<&'static str> {
    let set = [!message.display_name.is_empty(), message.tier != 0, message.disabled];
    FIELDS.mutable.iter().zip(set).filter_map(|(field, set)| set.then_some(*field)).collect()
}

fn patch(message: pb::Account, fields: &[&str]) -> Result<AccountPatch, Violations> {
    let names = |field| fields.contains(&field);
    let mut violations = Violations::default();
    let mut patch = AccountPatch::default();
    if names("display_name") {
        patch.display_name = violations.check("", DisplayName::parse(message.display_name));
    }
    if names("tier") {
        patch.tier = violations.check("", messages::tier(message.tier));
    }
    patch.disabled = names("disabled").then_some(message.disabled);
    violations.into_result()?;
    Ok(patch)
}

pub(super) fn new_api_key(message: pb::CreateApiKeyRequest) -> Result<ApiKey, ApiError> {
    let now = now();
    let mut violations = Violations::default();
    let account_id = violations.check("", account_id(&message.account_id));
    let display_name = violations.check("", ApiKeyName::parse(message.display_name));
    let expire_time =
        message.expire_time.and_then(|time| violations.check("", messages::time("expire_time", time)));
    if expire_time.is_some_and(|time| time <= now) {
        violations.push(Violation::new("expire_time", "must lie in the future"));
    }
    match (account_id, display_name) {
        (Some(account_id), Some(display_name)) if violations.is_empty() => Ok(ApiKey {
            id: ApiKeyId::generate(),
            account_id,
            display_name,
            create_time: now,
            expire_time: expire_time.map(to_micros),
            revoke_time: None,
        }),
        _ => Err(violations.into()),
    }
}

/// The account whose keys are meant.
pub(super) fn account_id(text: &str) -> Result<AccountId, Violation> {
    AccountId::parse(text).map_err(|violation| violation.at("account_id"))
}

#[cfg(test)]
mod tests {
    use prost_types::FieldMask;

    use super::*;
    use crate::domain::Tier;

    const ID: &str = "00000000-0000-0000-0000-000000000001";

    fn edited(account: pb::Account, mask: Option<&[&str]>) -> Result<AccountPatch, ApiError> {
        let paths = mask.map(|paths| paths.iter().map(ToString::to_string).collect());
        let update_mask = paths.map(|paths| FieldMask { paths });
        edit(pb::UpdateAccountRequest { account: Some(account), update_mask }).map(|(_, patch)| patch)
    }

    fn account(display_name: &str, tier: pb::Tier, disabled: bool) -> pb::Account {
        let (id, display_name) = (ID.to_owned(), display_name.to_owned());
        pb::Account { id, display_name, tier: tier.into(), disabled, create_time: None }
    }

    #[test]
    fn without_a_mask_what_is_set_changes() {
        let patch = edited(account("Ada", pb::Tier::Unspecified, true), None).unwrap();
        let display_name = DisplayName::parse("Ada").ok();
        assert_eq!(patch, AccountPatch { display_name, tier: None, disabled: Some(true) });
    }

    #[test]
    fn a_mask_names_what_changes_and_a_star_replaces_all() {
        let patch = edited(account("", pb::Tier::Unspecified, false), Some(&["disabled"])).unwrap();
        assert_eq!(patch, AccountPatch { disabled: Some(false), ..AccountPatch::default() });
        let patch = edited(account("Ada", pb::Tier::Unspecified, false), Some(&["*"])).unwrap();
        assert_eq!((patch.tier, patch.disabled), (Some(Tier::Free), Some(false)));
        assert!(patch.display_name.is_some());
    }

    #[test]
    fn all_that_is_wrong_is_reported_by_its_field() {
        let nameless = account("", pb::Tier::Free, true);
        let no_id = pb::Account { id: String::new(), tier: 9, ..nameless.clone() };
        let nothing = account("", pb::Tier::Unspecified, false);
        for (account, mask, fields) in [
            (&nameless, Some(&["id"][..]), &["update_mask"][..]),
            (&nameless, Some(&["create_time", "tier"]), &["update_mask"]),
            (&nameless, Some(&["name", "*"]), &["update_mask", "update_mask"]),
            (&nameless, Some(&[]), &["update_mask"]),
            (&nothing, None, &["update_mask"]),
            (&nameless, Some(&["*"]), &["account.display_name"]),
            (
                &no_id,
                Some(&["display_name", "tier"]),
                &["account.id", "account.display_name", "account.tier"],
            ),
        ] {
            let Err(ApiError::Invalid(wrong)) = edited(account.clone(), mask) else { panic!("{mask:?}") };
            let named: Vec<_> = wrong.iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(named, fields, "{mask:?}");
        }
    }
}
