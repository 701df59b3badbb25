//! [`ApiError`]: what a request can end with, as JSON.

use anyqueue::State;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Prints as `{"error": "…"}` with a text for people.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The request is not one we understand; the text says why.
    Invalid(String),
    /// The body could not be taken, with this status.
    Body(StatusCode, String),
    /// There is no such thing, or it is another session's.
    NotFound,
    /// The address is right, the method is not.
    Method,
    /// Another site's page sent it.
    CrossOrigin,
    /// The export's state does not allow it.
    Conflict(State),
    /// The export has ended well, but its file is gone.
    Gone,
    /// The orders cannot be read now.
    Orders,
    /// The store cannot be used now.
    Store,
    /// Our mistake.
    Internal,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Body(status, _) => *status,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::CrossOrigin => StatusCode::FORBIDDEN,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Gone => StatusCode::GONE,
            Self::Orders | Self::Store => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Invalid(text) | Self::Body(_, text) => text,
            Self::NotFound => "there is no such page or export".to_owned(),
            Self::Method => "this address takes another method".to_owned(),
            Self::CrossOrigin => "the request came from another site".to_owned(),
            Self::Conflict(state) => format!("the export is {state}"),
            Self::Gone => "the file was removed; export it again".to_owned(),
            Self::Orders => "the orders cannot be read right now".to_owned(),
            Self::Store => "the job store cannot be reached right now".to_owned(),
            Self::Internal => "something went wrong on our side".to_owned(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        (status, Json(json!({ "error": self.text() }))).into_response()
    }
}

impl From<anyqueue::Error> for ApiError {
    fn from(error: anyqueue::Error) -> Self {
        tracing::warn!(%error, "a request failed on the store");
        if error.kind().is_transient() {
            Self::Store
        } else {
            Self::Internal
        }
    }
}

impl From<crate::orders::OrdersError> for ApiError {
    fn from(error: crate::orders::OrdersError) -> Self {
        tracing::warn!(%error, "a request failed on the orders");
        Self::Orders
    }
}
