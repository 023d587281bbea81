//! Methods of others that are served beside ours, and are for admins alone.

use axum::{extract::Request, middleware::Next, response::Response};
use tonic::Status;

use super::accounts::demand_admin;
use super::error::ApiError;
use crate::domain::Caller;

/// Middleware: refuses a caller that is not an admin.
pub(super) async fn admins_only(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    let caller = caller.ok_or(ApiError::Bug("the call was not authenticated"));
    match caller.and_then(demand_admin) {
        Ok(()) => next.run(request).await,
        Err(error) => Status::from(error).into_http(),
    }
}
