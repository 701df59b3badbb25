//! The web side: a page, and the interface it uses.

mod body;
mod download;
mod error;
mod events;
mod exports;
mod orders;
mod origin;
mod page;
mod session;
mod status;

use std::sync::Arc;

use anyqueue::{Client, JobId, JobRecord};
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::export::ExportFolder;
use crate::orders::Orders;

use error::ApiError;
use session::Session;

/// The largest body of a request: ours have a hundred bytes.
const MOST_BYTES: usize = 16 * 1024;

/// What the endpoints share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct State(Arc<Parts>);

struct Parts {
    client: Client,
    orders: Orders,
    folder: ExportFolder,
    /// Ends the streams of events, which would go on for ever.
    shutdown: CancellationToken,
}

type App = axum::extract::State<State>;

impl State {
    pub(crate) fn new(
        client: Client,
        orders: Orders,
        folder: ExportFolder,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Parts {
            client,
            orders,
            folder,
            shutdown,
        }))
    }

    fn client(&self) -> &Client {
        &self.0.client
    }

    fn orders(&self) -> &Orders {
        &self.0.orders
    }

    fn folder(&self) -> &ExportFolder {
        &self.0.folder
    }

    fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    /// A session's own export. Another's reads as if it did not exist.
    async fn export(&self, session: Session, id: &str) -> Result<JobRecord, ApiError> {
        let id: JobId = id.parse().map_err(|_| ApiError::NotFound)?;
        let job = self.client().get(id).await?;
        job.filter(|job| session.owns(job))
            .ok_or(ApiError::NotFound)
    }
}

/// Serves until the shutdown.
pub(crate) async fn serve(listener: TcpListener, state: State) -> std::io::Result<()> {
    let shutdown = state.shutdown().clone();
    axum::serve(listener, router(state))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

fn router(state: State) -> Router {
    let export = Router::new()
        .route("/", get(exports::one))
        .route("/events", get(events::events))
        .route("/cancel", post(exports::cancel))
        .route("/retry", post(exports::retry))
        .route("/file", get(download::file));
    let with_session = Router::new()
        .route("/", get(page::html))
        .route("/api/exports", get(exports::list).post(exports::enqueue))
        .nest("/api/exports/{id}", export)
        .layer(from_fn(session::layer));
    Router::new()
        .route("/app.css", get(page::css))
        .route("/app.js", get(page::js))
        .route("/icon.svg", get(page::icon))
        .route("/api/choices", get(orders::choices))
        .route("/api/orders", get(orders::preview))
        .route("/healthz", get(health))
        .merge(with_session)
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(|| async { ApiError::Method })
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(from_fn(origin::layer))
        .layer(from_fn(page::headers))
        .with_state(state)
}

/// Whether this process reaches its store.
async fn health(app: App) -> Result<Json<Value>, ApiError> {
    app.client().queues().await?;
    let store = app.client().backend().name();
    Ok(Json(json!({ "status": "ok", "store": store })))
}
