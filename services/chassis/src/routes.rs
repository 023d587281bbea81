//! What a server answers.

use std::sync::Arc;

use axum::{Router, extract::Request, response::Response};
use futures_util::{FutureExt as _, future::BoxFuture};
use tower::{ServiceExt as _, service_fn};

type Answer = dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync;

/// Routes, and one method that is called so often that it is answered past them: to find a route, and to go through what lies on its
/// way, takes as long as a cheap answer.
#[derive(Clone)]
pub struct Routes {
    router: Router,
    hot: Option<Hot>,
}

#[derive(Clone)]
struct Hot {
    path: &'static str,
    answer: Arc<Answer>,
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        Self { router, hot: None }
    }
}

impl Routes {
    /// Lets `answer` have what is asked for under `path`.
    #[must_use]
    pub fn with_hot<F>(
        self,
        path: &'static str,
        answer: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let answer = Arc::new(move |request| answer(request).boxed());
        Self { hot: Some(Hot { path, answer }), ..self }
    }

    /// These and those. What is not found is left to those.
    #[must_use]
    pub fn merge(self, router: Router) -> Self {
        Self { router: router.merge(self.router.reset_fallback()), ..self }
    }

    /// All of it as routes.
    pub fn into_router(self) -> Router {
        let Some(Hot { path, answer }) = self.hot else { return self.router };
        let answer = service_fn(move |request| answer(request).map(Ok));
        self.router.route_service(path, answer)
    }

    pub(crate) fn answer(&self, request: Request) -> BoxFuture<'static, Response> {
        match &self.hot {
            Some(hot) if hot.path == request.uri().path() => (hot.answer)(request),
            _ => self.router.clone().oneshot(request).map(|Ok(response)| response).boxed(),
        }
    }
}
