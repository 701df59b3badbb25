//! Asking for exports, listing, cancelling and retrying them.

use anyqueue::{Cancelled, Cursor, Filter, Job, JobId, Kind, Page, Retried, Tag};
use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::body::{Body, Parameters};
use super::error::ApiError;
use super::session::Session;
use super::status::ExportStatus;
use super::{App, State};
use crate::export::ExportCsv;
use crate::orders::{Country, Filters, Status, View};

/// Exports on a page of the list.
const PAGE: u32 = 10;

/// What to export.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    view: View,
    status: Option<Status>,
    country: Option<Country>,
}

/// `POST /api/exports`: 202 with a new export, or 200 with the one under way
/// that is the same.
pub(super) async fn enqueue(
    app: App,
    session: Session,
    Body(wanted): Body<Wanted>,
) -> Result<Response, ApiError> {
    let Wanted {
        view,
        status,
        country,
    } = wanted;
    let job = ExportCsv {
        view,
        filters: Filters { status, country },
    };
    // A second click on the button is not a second export.
    let (status, country) = (status.map(Status::as_str), country.map(Country::as_str));
    let tag = session.tag();
    let key = format!("{tag} {} {status:?} {country:?}", view.as_str());
    let handle = app
        .client()
        .job(job)
        .tag(&tag)
        .unique(key)
        .enqueue()
        .await?;
    let code = if handle.is_existing() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    answer(&app, session, code, handle.id()).await
}

/// Which part of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    after: Option<String>,
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(super) struct List {
    exports: Vec<ExportStatus>,
    /// What to give as `after` for the next page.
    next: Option<String>,
}

/// `GET /api/exports`: the session's, newest first.
pub(super) async fn list(
    app: App,
    session: Session,
    Parameters(part): Parameters<Part>,
) -> Result<Json<List>, ApiError> {
    let limit = part.limit.unwrap_or(PAGE);
    if !(1..=100).contains(&limit) {
        return Err(ApiError::Invalid("give a limit from 1 to 100".to_owned()));
    }
    let mut page = Page::first(limit);
    if let Some(after) = part.after {
        let cursor: Cursor = after
            .parse()
            .map_err(|_| ApiError::Invalid("give `after` as a list returned it".to_owned()))?;
        page = page.after(cursor);
    }
    let internal = |_| ApiError::Internal;
    let filter = Filter::any()
        .kind(Kind::new(ExportCsv::KIND).map_err(internal)?)
        .tag(Tag::new(session.tag()).map_err(internal)?);
    let listing = app.client().list(&filter, &page).await?;
    Ok(Json(List {
        exports: listing.jobs.into_iter().map(ExportStatus::from).collect(),
        next: listing.next.map(|cursor| cursor.to_string()),
    }))
}

/// `GET /api/exports/{id}`.
pub(super) async fn one(
    app: App,
    session: Session,
    Path(id): Path<String>,
) -> Result<Json<ExportStatus>, ApiError> {
    Ok(Json(app.export(session, &id).await?.into()))
}

/// `POST /api/exports/{id}/cancel`.
pub(super) async fn cancel(
    app: App,
    session: Session,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let job = app.export(session, &id).await?;
    match app.client().cancel(job.id).await? {
        Cancelled::Done | Cancelled::Requested => {
            answer(&app, session, StatusCode::ACCEPTED, job.id).await
        }
        Cancelled::Finished(state) => Err(ApiError::Conflict(state)),
        Cancelled::NotFound => Err(ApiError::NotFound),
    }
}

/// `POST /api/exports/{id}/retry`: 202, or 200 with the same export where it
/// was asked for anew meanwhile.
pub(super) async fn retry(
    app: App,
    session: Session,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let job = app.export(session, &id).await?;
    match app.client().retry(job.id).await? {
        Retried::Ready => answer(&app, session, StatusCode::ACCEPTED, job.id).await,
        Retried::Existing(other) => answer(&app, session, StatusCode::OK, other).await,
        Retried::NotEnded(state) => Err(ApiError::Conflict(state)),
        Retried::NotFound => Err(ApiError::NotFound),
    }
}

async fn answer(
    app: &State,
    session: Session,
    code: StatusCode,
    id: JobId,
) -> Result<Response, ApiError> {
    let id = id.to_string();
    let export: ExportStatus = app.export(session, &id).await?.into();
    let location = [(LOCATION, format!("/api/exports/{id}"))];
    Ok((code, location, Json(export)).into_response())
}
