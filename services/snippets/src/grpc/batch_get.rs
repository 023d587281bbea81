//! Reading several snippets at once.

use std::collections::{HashMap, HashSet};

use rpc::snippets::v1 as pb;
use tonic::Request;

use super::{
    authenticate::caller,
    error::ApiError,
    messages,
    snippets::{Snippets, both},
};
use crate::{
    domain::{Caller, Snippet, SnippetId, Violation, Violations, may_read, now},
    ports::Found,
};

const IDS_MAX: usize = 100;
/// With everything else of so many snippets, an answer stays below the 4 MiB that gRPC clients take by default.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

impl Snippets {
    pub(super) async fn batch_get(
        &self,
        request: Request<pb::BatchGetSnippetsRequest>,
    ) -> Result<pb::BatchGetSnippetsResponse, ApiError> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let full = messages::wants_body(request.view).map_err(ApiError::from);
        let (ids, full) = both(ids(&request.ids), full)?;
        let mut found =
            if full { self.whole(&ids, &caller).await? } else { self.bare(&ids, &caller).await? };
        let view_counts = self.view_counts.get_many(found.keys().copied()).await;
        let mut response = pb::BatchGetSnippetsResponse::default();
        for id in ids {
            let Some(Found { metadata, body }) = self.viewed(found.remove(&id), full, &caller).await? else {
                response.missing_ids.push(id.to_string());
                continue;
            };
            let view_count = view_counts.get(&id).copied().unwrap_or_default();
            response.snippets.push(messages::snippet(&metadata, body.as_ref(), view_count));
        }
        Ok(response)
    }

    /// What was found, if it may still be seen when its view is taken.
    async fn viewed(
        &self,
        found: Option<Found>,
        full: bool,
        caller: &Caller,
    ) -> Result<Option<Found>, ApiError> {
        let Some(found) = found else { return Ok(None) };
        if !full {
            return Ok(Some(found));
        }
        if self.take_view(&found.metadata, caller).await? {
            return Ok(Some(found));
        }
        match self.read(&found.metadata.id, full, caller).await {
            Ok(Snippet { metadata, body }) => Ok(Some(Found { metadata, body: Some(body) })),
            Err(ApiError::Denied(_) | ApiError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those that the caller may read, without their bodies.
    async fn bare(&self, ids: &[SnippetId], caller: &Caller) -> Result<HashMap<SnippetId, Found>, ApiError> {
        let found = self.store.get_many(ids, 0).await?;
        let readable = found.into_iter().filter(|found| may_read(&found.metadata, caller, now()));
        Ok(readable.map(|found| (found.metadata.id, found)).collect())
    }

    /// Those that the caller may read, with their bodies.
    async fn whole(&self, ids: &[SnippetId], caller: &Caller) -> Result<HashMap<SnippetId, Found>, ApiError> {
        let (mut whole, mut room) = (HashMap::new(), BODY_BYTES_MAX);
        let mut wanted = ids.to_vec();
        while !wanted.is_empty() {
            let mut found = self.store.get_many(&wanted, room).await?;
            let (all, now) = (found.len(), now());
            found.retain(|found| may_read(&found.metadata, caller, now));
            let all_readable = found.len() == all;
            wanted.clear();
            for found in found {
                let id = found.metadata.id;
                match &found.body {
                    Some(body) => {
                        room = room.saturating_sub(body.as_str().len());
                        whole.insert(id, found);
                    }
                    None => wanted.push(id),
                }
            }
            // What the caller may not read took no room away: it is to make no difference.
            if all_readable && !wanted.is_empty() {
                return Err(ApiError::BatchTooLarge { bytes_max: BODY_BYTES_MAX });
            }
        }
        Ok(whole)
    }
}

/// The ids in the order of their first places.
fn ids(texts: &[String]) -> Result<Vec<SnippetId>, Violations> {
    if texts.len() > IDS_MAX {
        return Err(Violation::new("ids", format!("must have at most {IDS_MAX} entries")).into());
    }
    let mut violations = Violations::default();
    let mut seen = HashSet::new();
    let mut ids = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let id = SnippetId::parse(text).map_err(|violation| violation.at(format!("ids[{index}]")));
        ids.extend(violations.check("", id).filter(|id| seen.insert(*id)));
    }
    violations.into_result().map(|()| ids)
}
