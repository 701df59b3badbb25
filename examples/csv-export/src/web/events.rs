//! `GET /api/exports/{id}/events`: an export's changes as they come.

use std::time::Duration;

use axum::extract::Path;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::{Stream, StreamExt};

use super::App;
use super::error::ApiError;
use super::session::Session;
use super::status::ExportStatus;

/// How long a browser waits before it comes back after the stream broke.
const COME_BACK: Duration = Duration::from_millis(500);

/// Server-sent events, one for each change, the present state first: a browser
/// that lost the connection misses nothing. The stream ends when the export
/// has ended.
pub(super) async fn events(
    app: App,
    session: Session,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, ApiError> {
    let job = app.export(session, &id).await?;
    let changes = app.client().watch(job.id).map(|change| match change {
        Ok(job) => Event::default()
            .retry(COME_BACK)
            .json_data(ExportStatus::from(job)),
        // Ends the connection; the browser comes back.
        Err(error) => Err(axum::Error::new(error)),
    });
    let until_shutdown = changes.take_until(app.shutdown().clone().cancelled_owned());
    Ok(Sse::new(until_shutdown).keep_alive(KeepAlive::default()))
}
