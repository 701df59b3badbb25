//! The interface, without a browser.

#![allow(missing_docs)]

mod common;
mod http {
    pub(crate) mod visitor;
}

use std::fs;
use std::io::{BufRead, BufReader};

use common::{App, Launch, count_rows, export_files};
use http::visitor::Visitor;
use serde_json::{Value, json};
use tempfile::TempDir;

/// 5,000 rows that take half a minute: what a test does not stop stays under way.
const SLOW: u32 = 170;

fn start(pace: u32) -> (TempDir, App, Visitor) {
    let data = tempfile::tempdir().unwrap();
    let app = Launch::new(data.path()).rows(5_000).pace(pace).start();
    let visitor = Visitor::new(app.url());
    (data, app, visitor)
}

fn all_orders() -> Value {
    json!({ "view": "all_orders" })
}

#[test]
fn an_export_ends_with_the_views_rows_in_a_file() {
    let (data, _app, visitor) = start(0);
    let wanted = json!({ "view": "all_orders", "status": "delivered" });
    let export = visitor.post("/api/exports", &wanted).is(202);
    let id = export["id"].as_str().unwrap();
    let ended = visitor.until(id, |export| export["state"] == "completed");
    let preview = visitor
        .get("/api/orders?view=all_orders&status=delivered")
        .is(200);
    assert_eq!(ended["rows"], preview["total"]);
    assert_eq!(ended["percent"], 100);

    let file = visitor.get(ended["file"].as_str().unwrap());
    let name = file.header("content-disposition");
    assert!(
        name.starts_with("attachment; filename=\"all-orders-20"),
        "{name}"
    );
    assert!(file.header("content-type").starts_with("text/csv"));
    assert_eq!(file.status, 200);
    let path = data.path().join("downloaded.csv");
    fs::write(&path, &file.body).unwrap();
    assert_eq!(count_rows(&path) as u64, preview["total"].as_u64().unwrap());
    assert_eq!(file.body.len() as u64, ended["bytes"].as_u64().unwrap());

    // What a spreadsheet would run is quoted, in every row that has it.
    assert!(file.body.contains(",'@home Interiors,"));
    assert!(!file.body.contains(",@home") && !file.body.contains(",=Equal="));
}

#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    let (_data, _app, visitor) = start(0);
    for wanted in [
        json!({ "view": "no_such_view" }),
        json!({ "view": "all_orders'; DROP TABLE orders; --" }),
        json!({ "view": "all_orders", "status": "lost" }),
        json!({ "view": "all_orders", "country": "Atlantis" }),
        json!({ "view": "all_orders", "path": "/etc/passwd" }),
        json!({}),
        json!(["all_orders"]),
    ] {
        let answer = visitor.post("/api/exports", &wanted).is(400);
        assert!(answer["error"].is_string(), "{wanted}: {answer}");
    }
    for path in [
        "/api/orders",
        "/api/orders?view=no_such_view",
        "/api/orders?view=all_orders&status=lost",
        "/api/orders?view=all_orders&country=%27",
        "/api/orders?view=all_orders&rows=101",
        "/api/orders?view=all_orders&rows=-1",
        "/api/exports?limit=0",
        "/api/exports?limit=101",
        "/api/exports?after=nonsense",
    ] {
        assert!(visitor.get(path).is(400)["error"].is_string(), "{path}");
    }
    let body = format!("{{\"view\":\"{}\"}}", "x".repeat(20_000));
    visitor
        .send("/api/exports", "application/json", &body, &[])
        .is(413);
    visitor
        .send("/api/exports", "application/json", "{", &[])
        .is(400);
    visitor
        .send("/api/exports", "text/plain", "{}", &[])
        .is(415);
    visitor.get("/no/such/page").is(404);
    visitor.get("/api/orders/").is(404);
    visitor
        .send("/api/orders", "application/json", "{}", &[])
        .is(405);
    assert_eq!(visitor.exports(), Vec::<Value>::new());
}

#[test]
fn ids_lead_to_the_sessions_own_exports_only() {
    let (_data, app, visitor) = start(0);
    let export = visitor.post("/api/exports", &all_orders()).is(202);
    let own = export["id"].as_str().unwrap();
    visitor.until(own, |export| export["state"] == "completed");

    let stranger = Visitor::new(app.url());
    assert_eq!(stranger.exports(), Vec::<Value>::new());
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let ids = [
        own,
        unknown,
        "1",
        "..%2F..%2Forders.db",
        "..%2fexports%2f",
        "%00",
    ];
    for id in ids {
        for part in ["", "/events", "/file"] {
            stranger.get(&format!("/api/exports/{id}{part}")).is(404);
        }
        for part in ["/cancel", "/retry"] {
            stranger
                .post(&format!("/api/exports/{id}{part}"), &Value::Null)
                .is(404);
        }
    }
    assert_eq!(visitor.exports().len(), 1);
    assert_eq!(visitor.get(&format!("/api/exports/{own}/file")).status, 200);
}

#[test]
fn other_sites_cannot_act_for_a_visitor() {
    let (_data, app, visitor) = start(SLOW);
    let export = visitor
        .post("/api/exports", &json!({ "view": "open_orders" }))
        .is(202);
    let cancel = format!("/api/exports/{}/cancel", export["id"].as_str().unwrap());
    let body = all_orders().to_string();
    for from in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
    ] {
        for path in ["/api/exports", cancel.as_str()] {
            visitor
                .send(path, "application/json", &body, &[from])
                .is(403);
        }
    }
    let exports = visitor.exports();
    assert_eq!(exports.len(), 1);
    assert_eq!(exports[0]["cancel_requested"], false);
    let own = ("origin", app.url());
    visitor
        .send("/api/exports", "application/json", &body, &[own])
        .is(202);
}

#[test]
fn a_cancelled_export_leaves_nothing_and_can_be_tried_again() {
    // Fast enough to finish the second time, slow enough to be stopped.
    let (data, _app, visitor) = start(2_500);
    let export = visitor.post("/api/exports", &all_orders()).is(202);
    let id = export["id"].as_str().unwrap();
    let path = |part: &str| format!("/api/exports/{id}/{part}");
    visitor.until(id, |export| export["percent"].as_u64() > Some(10));
    assert_eq!(
        export_files(data.path()).len(),
        1,
        "one file is being written"
    );
    visitor.get(&path("file")).is(409);
    visitor.post(&path("retry"), &Value::Null).is(409);
    visitor.post(&path("cancel"), &Value::Null).is(202);
    let ended = visitor.until(id, |export| export["finished_at"].is_number());
    assert_eq!(ended["state"], "cancelled");
    assert_eq!(export_files(data.path()), Vec::<std::path::PathBuf>::new());

    visitor.post(&path("retry"), &Value::Null).is(202);
    let ended = visitor.until(id, |export| export["state"] == "completed");
    assert_eq!(ended["rows"], 5_000);
    visitor.post(&path("cancel"), &Value::Null).is(409);
}

#[test]
fn a_second_click_is_not_a_second_export() {
    let (_data, app, visitor) = start(SLOW);
    let first = visitor.post("/api/exports", &all_orders()).is(202);
    let again = visitor.post("/api/exports", &all_orders()).is(200);
    assert_eq!(first["id"], again["id"]);
    let narrower = json!({ "view": "all_orders", "country": "SE" });
    let other = visitor.post("/api/exports", &narrower).is(202);
    assert_ne!(first["id"], other["id"]);
    let theirs = Visitor::new(app.url())
        .post("/api/exports", &all_orders())
        .is(202);
    assert_ne!(first["id"], theirs["id"]);
}

#[test]
fn the_list_has_pages_newest_first() {
    let (_data, _app, visitor) = start(0);
    let countries = ["DE", "US", "FR", "GB", "NL"];
    let mut made: Vec<Value> = countries
        .iter()
        .map(|country| json!({ "view": "all_orders", "country": country }))
        .map(|wanted| visitor.post("/api/exports", &wanted).is(202)["id"].clone())
        .collect();
    made.reverse();
    let (mut listed, mut pages, mut path) = (Vec::new(), 0, "/api/exports?limit=2".to_owned());
    loop {
        let list = visitor.get(&path).is(200);
        pages += 1;
        for export in list["exports"].as_array().unwrap() {
            listed.push(export["id"].clone());
        }
        match list["next"].as_str() {
            Some(next) => path = format!("/api/exports?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!((pages, listed), (3, made));
}

#[test]
fn events_tell_a_rising_progress_and_end() {
    let (_data, _app, visitor) = start(5_000);
    let export = visitor.post("/api/exports", &all_orders()).is(202);
    let events = visitor.get(&format!(
        "/api/exports/{}/events",
        export["id"].as_str().unwrap()
    ));
    assert_eq!(events.status, 200);
    assert!(
        events
            .header("content-type")
            .starts_with("text/event-stream")
    );
    let events: Vec<Value> = events
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let percents: Vec<u64> = events
        .iter()
        .map(|e| e["percent"].as_u64().unwrap())
        .collect();
    assert!(percents.is_sorted() && percents.len() >= 4, "{percents:?}");
    let messages: Vec<_> = events
        .iter()
        .filter_map(|e| e["message"].as_str())
        .collect();
    assert!(
        messages.iter().any(|text| text.ends_with("of 5,000 rows")),
        "{messages:?}"
    );
    assert_eq!(events.last().unwrap()["state"], "completed");
}

#[test]
fn a_failed_export_says_why_and_a_lost_file_is_gone() {
    let (data, _app, visitor) = start(0);
    let (orders, away) = (data.path().join("orders.db"), data.path().join("away.db"));
    fs::rename(&orders, &away).unwrap();
    let export = visitor.post("/api/exports", &all_orders()).is(202);
    let id = export["id"].as_str().unwrap();
    let ended = visitor.until(id, |export| export["state"] == "failed");
    let errors = ended["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 3);
    let text = errors[2]["message"].as_str().unwrap();
    assert!(
        text.contains("the orders database cannot be read"),
        "{text}"
    );
    assert!(
        !text.contains(data.path().to_str().unwrap()),
        "it tells where: {text}"
    );
    visitor.get("/api/orders?view=all_orders").is(503);

    fs::rename(&away, &orders).unwrap();
    visitor
        .post(&format!("/api/exports/{id}/retry"), &Value::Null)
        .is(202);
    visitor.until(id, |export| export["state"] == "completed");
    fs::remove_file(data.path().join(format!("exports/{id}.csv"))).unwrap();
    visitor.get(&format!("/api/exports/{id}/file")).is(410);
}

#[test]
fn an_export_outlives_kill_9() {
    let (data, app, visitor) = start(SLOW);
    let export = visitor.post("/api/exports", &all_orders()).is(202);
    let id = export["id"].as_str().unwrap();
    visitor.until(id, |export| export["percent"].as_u64() >= Some(1));
    let port = app.port();
    app.kill();
    assert_eq!(
        export_files(data.path()).len(),
        1,
        "the killed attempt left its file"
    );

    let _app = Launch::new(data.path()).port(port).start();
    let ended = visitor.until(id, |export| export["state"] == "completed");
    assert_eq!(
        (&ended["attempt"], &ended["rows"]),
        (&json!(2), &json!(5_000))
    );
    let expected = data.path().join(format!("exports/{id}.csv"));
    assert_eq!(count_rows(&expected), 5_000);
    assert_eq!(export_files(data.path()), [expected]);
}

#[test]
fn a_shutdown_ends_open_streams_and_gives_the_work_back() {
    let (data, app, visitor) = start(SLOW);
    let export = visitor.post("/api/exports", &all_orders()).is(202);
    let id = export["id"].as_str().unwrap().to_owned();
    visitor.until(&id, |export| export["percent"].as_u64() >= Some(1));
    let events = visitor.begin(&format!("/api/exports/{id}/events"));
    let mut lines = BufReader::new(events.into_body().into_reader()).lines();
    lines.next().unwrap().unwrap();
    let port = app.port();
    assert!(app.terminate().success());
    assert_eq!(export_files(data.path()), Vec::<std::path::PathBuf>::new());
    assert!(lines.all(|line| line.is_ok()), "the stream broke");
    let _app = Launch::new(data.path()).port(port).start();
    let ended = visitor.until(&id, |export| export["state"] == "completed");
    assert_eq!(
        (&ended["attempt"], &ended["rows"]),
        (&json!(1), &json!(5_000))
    );
}

#[test]
fn the_page_is_whole_and_loads_nothing_from_elsewhere() {
    let (_data, _app, visitor) = start(0);
    for path in ["/", "/app.css", "/app.js", "/icon.svg"] {
        let answer = visitor.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        let elsewhere = answer.body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !elsewhere.contains("http://") && !elsewhere.contains("https://"),
            "{path}"
        );
    }
    let cookie = &visitor.cookie;
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    assert_eq!(visitor.get("/healthz").is(200)["status"], "ok");
}

#[cfg(feature = "memory")]
#[test]
fn another_store_needs_another_url_only() {
    let data = tempfile::tempdir().unwrap();
    let app = Launch::new(data.path()).start_with(&["--store", "memory:"]);
    let visitor = Visitor::new(app.url());
    let export = visitor.post("/api/exports", &all_orders()).is(202);
    let ended = visitor.until(export["id"].as_str().unwrap(), |e| {
        e["state"] == "completed"
    });
    assert_eq!(ended["rows"], 2_000);
    assert_eq!(visitor.get("/healthz").is(200)["store"], "memory");
}
