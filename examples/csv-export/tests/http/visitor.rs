//! [`Visitor`]: one browser's worth of requests, with its cookie.

use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

/// Tells a hang from a result; nothing here takes as long.
const BOUND: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Visitor {
    agent: Agent,
    base: String,
    /// What the server set on the first visit.
    pub(crate) cookie: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    headers: HeaderMap,
}

impl Visitor {
    /// One whom the server has not seen yet.
    pub(crate) fn new(base: &str) -> Self {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(BOUND))
            // The server hangs up on whom it refuses before it has read all: what
            // is sent next on that connection would be lost.
            .max_idle_connections(0)
            .build()
            .into();
        let page = agent.get(format!("{base}/")).call().expect("it serves");
        let cookie = page.headers()["set-cookie"].to_str().expect("it is text");
        Self {
            agent,
            base: base.to_owned(),
            cookie: cookie.to_owned(),
        }
    }

    fn session(&self) -> &str {
        self.cookie.split(';').next().unwrap_or_default()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        Answer::read(self.begin(path))
    }

    /// Returns when the answer has begun.
    pub(crate) fn begin(&self, path: &str) -> Response<Body> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let answer = request.header("cookie", self.session()).call();
        answer.expect("it answers")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(path, "application/json", &body.to_string(), &[])
    }

    pub(crate) fn send(
        &self,
        path: &str,
        kind: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("cookie", self.session())
            .header("content-type", kind);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.send(body).expect("it answers"))
    }

    pub(crate) fn exports(&self) -> Vec<Value> {
        let list = self.get("/api/exports").is(200);
        list["exports"].as_array().expect("it is a list").clone()
    }

    /// Asks for an export until it is so.
    pub(crate) fn until(&self, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let export = self.get(&format!("/api/exports/{id}")).is(200);
            if is_so(&export) {
                return export;
            }
            assert!(begun.elapsed() < BOUND, "it stays {export}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Answer {
    /// Returns when the answer has ended.
    fn read(answer: Response<Body>) -> Self {
        let (parts, mut body) = answer.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.read_to_string().expect("it is text"),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let header = self.headers.get(name).expect(name);
        header.to_str().expect("it is text")
    }

    /// The JSON in the body of an answer with this status.
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).expect("it is JSON")
    }
}
