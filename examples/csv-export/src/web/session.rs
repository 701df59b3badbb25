//! [`Session`]: whose exports are whose. A random cookie; an application with
//! accounts would take the account instead.

use anyqueue::{JobRecord, Tag};
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::error::ApiError;

const COOKIE_NAME: &str = "session";

/// One browser. Who knows the number is the session: it is never logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Session(Uuid);

impl Session {
    /// The label of the session's jobs.
    pub(super) fn tag(self) -> String {
        format!("session:{}", self.0)
    }

    /// Whether a job is the session's.
    pub(super) fn owns(self, job: &JobRecord) -> bool {
        let own = self.tag();
        job.tags.iter().map(Tag::as_str).any(|tag| tag == own)
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let cookies = headers.get_all(COOKIE).iter();
        cookies
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, _)| *name == COOKIE_NAME)
            .find_map(|(_, value)| Some(Self(value.parse().ok()?)))
    }
}

/// Finds the request's session, or begins one.
pub(super) async fn layer(mut request: Request, next: Next) -> Response {
    let known = Session::of(request.headers());
    let session = known.unwrap_or_else(|| Session(Uuid::new_v4()));
    request.extensions_mut().insert(session);
    let mut response = next.run(request).await;
    if known.is_none() {
        // Without `Secure`, since the example is served over plain HTTP.
        let month = 30 * 24 * 3_600;
        let value = session.0;
        let cookie =
            format!("{COOKIE_NAME}={value}; Path=/; Max-Age={month}; HttpOnly; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    response
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // Only routes under the layer take a session.
        parts.extensions.get().copied().ok_or(ApiError::Internal)
    }
}
