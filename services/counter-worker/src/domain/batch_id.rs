//! What the id of a batch says: a UUIDv7 begins with the time, in milliseconds, at which it was made.

use uuid::Uuid;

/// A batch that is as old as others whose ids were forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody knows whether batch {0} was counted: the ids of batches of its age are forgotten")]
pub struct Forgotten(pub Uuid);

/// The least id of all that are made from a time on, in milliseconds since 1970.
pub fn least_at(unix_ms: i64) -> Uuid {
    // 48 bits of time in front of 80 others.
    Uuid::from_u128(u128::from(unix_ms.max(0).unsigned_abs()) << 80)
}

/// Whether the id says when it was made.
pub fn has_time(id: Uuid) -> bool {
    id.get_version_num() == 7
}

/// The highest of the ids that say when they were made: up to it, they are forgotten.
pub fn forgotten_to(forgotten: &[Uuid]) -> Option<Uuid> {
    forgotten.iter().copied().filter(|id| has_time(*id)).max()
}

/// Finds out whether all of the `new` ids can be trusted to be new, where ids up to `forgotten_to` are forgotten.
///
/// # Errors
/// Names one that can't.
pub fn check_new<'a>(
    new: impl IntoIterator<Item = &'a Uuid>,
    forgotten_to: Option<Uuid>,
) -> Result<(), Forgotten> {
    let doubtful = new.into_iter().find(|id| has_time(**id) && Some(**id) <= forgotten_to);
    doubtful.map_or(Ok(()), |id| Err(Forgotten(*id)))
}

#[cfg(test)]
mod tests {
    use uuid::Timestamp;

    use super::*;

    fn v7(unix_seconds: u64) -> Uuid {
        Uuid::new_v7(Timestamp::from_unix_time(unix_seconds, 0, 0, 0))
    }

    #[test]
    fn ids_are_in_the_order_of_their_times() {
        let id = v7(1_000_000);
        assert!(least_at(1_000_000_000) <= id && id < least_at(1_000_000_001));
        assert_eq!(least_at(-1), Uuid::nil());
    }

    #[test]
    fn only_ids_with_a_time_are_doubted() {
        let (old, older, young) = (v7(2_000), v7(1_000), v7(3_000));
        let other = Uuid::from_u128(1);
        assert_eq!(forgotten_to(&[older, old, Uuid::max()]), Some(old));
        assert_eq!(forgotten_to(&[other]), None);
        assert_eq!(check_new(&[old, older], None), Ok(()));
        assert_eq!(check_new(&[young, other], Some(old)), Ok(()));
        assert_eq!(check_new(&[young, older], Some(old)), Err(Forgotten(older)));
        assert_eq!(check_new(&[old], Some(old)), Err(Forgotten(old)));
    }
}
