//! What can be exported, and how it begins.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::body::Parameters;
use super::error::ApiError;
use crate::orders::{Country, Filters, Preview, Status, View};

/// Rows of the preview.
const ROWS: u16 = 8;

/// `GET /api/choices`: views and filters, in the page's order.
pub(super) async fn choices() -> Json<Value> {
    let option = |(value, label)| json!({ "value": value, "label": label });
    let views = View::ALL.iter().map(|v| option((v.as_str(), v.label())));
    let statuses = Status::ALL.iter().map(|s| option((s.as_str(), s.label())));
    let countries = Country::ALL.iter().map(|c| option((c.as_str(), c.label())));
    Json(json!({
        "views": views.collect::<Vec<_>>(),
        "statuses": statuses.collect::<Vec<_>>(),
        "countries": countries.collect::<Vec<_>>(),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    view: View,
    status: Option<Status>,
    country: Option<Country>,
    rows: Option<u16>,
}

/// `GET /api/orders?view=…&status=…&country=…`: the first rows of a view.
pub(super) async fn preview(
    app: App,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Preview>, ApiError> {
    let rows = asked.rows.unwrap_or(ROWS);
    if rows > 100 {
        return Err(ApiError::Invalid("give 100 rows at most".to_owned()));
    }
    let filters = Filters {
        status: asked.status,
        country: asked.country,
    };
    let orders = app.orders().clone();
    let reading = tokio::task::spawn_blocking(move || orders.preview(asked.view, filters, rows));
    let preview = reading.await.map_err(|_| ApiError::Internal)??;
    Ok(Json(preview))
}
