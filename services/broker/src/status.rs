//! Whether a supervised session is open, for whoever reports on the health of a service.

use std::error::Error;

use tokio::sync::watch;

/// Whether the session of a [`Supervisor`](crate::Supervisor) is open, and if not, why.
#[derive(Debug, Clone)]
pub struct Status(watch::Sender<Option<String>>);

impl Default for Status {
    fn default() -> Self {
        Self(watch::Sender::new(Some("not connected yet".to_owned())))
    }
}

impl Status {
    /// Whether the session is open.
    ///
    /// # Errors
    /// Why the last one has ended, or could not be opened. It holds no credentials.
    pub fn check(&self) -> Result<(), String> {
        self.0.borrow().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn opened(&self) {
        self.0.send_replace(None);
    }

    pub(crate) fn failed(&self, cause: &dyn Error) {
        self.0.send_replace(Some(cause.to_string()));
    }
}
