//! An entry of `limits`: an algorithm with its parameters, and what else this service's own limits can say.

mod algorithm;

use super::{
    OnError, Policy,
    document::{RawLimit, is_set},
    error::{Notes, Place},
    read::{At, one_of},
};
use crate::algorithm::Algorithm;

/// What can hold while the counters can't be reached.
pub(super) const ON_ERROR: [(&str, OnError); 3] =
    [("allow", OnError::Allow), ("deny", OnError::Deny), ("local", OnError::Local)];

/// What an entry says.
pub(super) struct Limit {
    pub policy: Policy,
    pub on_error: OnError,
    pub lease: Option<u64>,
}

/// `None` where something is wrong, and noted.
pub(super) fn read(raw: &RawLimit, notes: &mut Notes) -> Option<Limit> {
    let on_error = checked(raw.on_error.as_ref(), notes, |name| one_of("on_error", name, &ON_ERROR));
    if is_set(raw.unlimited.as_ref()) {
        refuse_parameters(raw, notes);
        return Some(Limit { policy: Policy::Unlimited, on_error: OnError::default(), lease: None });
    }
    let algorithm = algorithm::read(raw, notes);
    let lease = checked(raw.lease.as_ref(), notes, |lease| valid_lease(*lease, algorithm.as_ref()));
    let policy = Policy::Limited(algorithm?);
    Some(Limit { policy, on_error: on_error.ok()?.unwrap_or_default(), lease: lease.ok()? })
}

/// What the field says, if it is there; an error where it is wrong, and noted.
fn checked<T, V>(
    field: Option<&At<T>>,
    notes: &mut Notes,
    check: impl FnOnce(&T) -> Result<V, String>,
) -> Result<Option<V>, ()> {
    let checked = field.map(|field| notes.ok(field.place, check(&field.value)).ok_or(()));
    checked.transpose()
}

fn refuse_parameters(raw: &RawLimit, notes: &mut Notes) {
    let place = |field: &Option<At<String>>| field.as_ref().map(|field| field.place);
    let number = |field: &Option<At<u64>>| field.as_ref().map(|field| field.place);
    let parameters: [(&str, Option<Place>); 7] = [
        ("algorithm", place(&raw.algorithm)),
        ("limit", number(&raw.limit)),
        ("period", place(&raw.period)),
        ("burst", number(&raw.burst)),
        ("time_zone", place(&raw.time_zone)),
        ("on_error", place(&raw.on_error)),
        ("lease", number(&raw.lease)),
    ];
    for (name, place) in parameters.into_iter().filter_map(|(name, place)| Some((name, place?))) {
        notes.note(place, format_args!("what is unlimited has no {name}; leave out one of them"));
    }
}

fn valid_lease(lease: u64, algorithm: Option<&Algorithm>) -> Result<u64, String> {
    // A bucket may hold more than its limit, or less. Where the algorithm is wrong its range is not known.
    let capacity = algorithm.map_or(u64::MAX, |algorithm| algorithm.limit().min(algorithm.capacity()));
    match lease {
        0 => Err("lease must be at least 1; leave it out for none".to_owned()),
        _ if lease > capacity => {
            Err(format!("lease must be at most {capacity}, which is all that passes at once"))
        }
        _ => Ok(lease),
    }
}
