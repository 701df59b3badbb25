//! `GET /api/exports/{id}/file`: the file, streamed.

use anyqueue::State;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::App;
use super::error::ApiError;
use super::session::Session;
use crate::export::ExportCsv;
use crate::orders::Date;

pub(super) async fn file(
    app: App,
    session: Session,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let job = app.export(session, &id).await?;
    if job.state != State::Completed {
        return Err(ApiError::Conflict(job.state));
    }
    let file = match File::open(app.folder().path(job.id)).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(ApiError::Gone),
        Err(error) => {
            tracing::warn!(id = %job.id, %error, "an export cannot be read");
            return Err(ApiError::Internal);
        }
    };
    let bytes = file.metadata().await.map_err(|_| ApiError::Internal)?.len();
    let view = job
        .payload
        .decode()
        .map_or("export", |job: ExportCsv| job.view.as_str());
    let date = Date::from_unix_seconds(job.created_at.as_micros() / 1_000_000);
    let headers = [
        (
            CONTENT_TYPE,
            "text/csv; charset=utf-8; header=present".to_owned(),
        ),
        (CONTENT_LENGTH, bytes.to_string()),
        (
            CONTENT_DISPOSITION,
            // Both parts are ours: letters, digits, dashes.
            format!(
                "attachment; filename=\"{}-{date}.csv\"",
                view.replace('_', "-")
            ),
        ),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}
