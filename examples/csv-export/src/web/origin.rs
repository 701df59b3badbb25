//! Keeps other sites' pages from acting in a visitor's name.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

/// Refuses requests with an effect that another site's page sent.
///
/// As Go's `net/http.CrossOriginProtection`: browsers say where a request
/// comes from by `Sec-Fetch-Site`, older ones by `Origin`. A request with
/// neither was made by a program, which has no visitor's cookies to abuse.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if reads || is_same_origin(request.headers()) {
        next.run(request).await
    } else {
        ApiError::CrossOrigin.into_response()
    }
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin
        .to_str()
        .ok()
        .and_then(|text| text.parse::<Uri>().ok());
    let (Some(origin), Some(host)) = (origin, headers.get(HOST)) else {
        return false;
    };
    origin
        .authority()
        .is_some_and(|authority| authority.as_str().as_bytes() == host.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        is_same_origin(&headers.collect())
    }

    #[test]
    fn only_the_own_page_and_programs_may_act() {
        let host = ("host", "127.0.0.1:8080");
        assert!(allows(&[host]));
        assert!(allows(&[host, ("origin", "http://127.0.0.1:8080")]));
        assert!(allows(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(!allows(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(!allows(&[host, ("sec-fetch-site", "same-site")]));
        assert!(!allows(&[host, ("origin", "http://evil.example")]));
        assert!(!allows(&[host, ("origin", "http://127.0.0.1:9")]));
        assert!(!allows(&[host, ("origin", "null")]));
    }
}
