//! The parts of a `sqlserver:` URL, and of a connection string what is this
//! crate's own.

use anyqueue_core::Error;
use anyqueue_core::support::percent_decode;

use crate::error::invalid_url;

/// The parts of a URL, decoded.
pub(crate) struct Url {
    pub(crate) user: Option<(String, String)>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) database: Option<String>,
    pub(crate) options: Vec<(String, String)>,
}

impl Url {
    /// The parts, or `None` where it is no such URL.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, Error> {
        let scheme = ["sqlserver://", "mssql://"].into_iter().find(|scheme| {
            let start = text.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        let Some(scheme) = scheme else {
            return Ok(None);
        };
        let rest = &text[scheme.len()..];
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (server, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, address) = match server.rsplit_once('@') {
            None => (None, server),
            Some((user, address)) => {
                let (user, password) = user.split_once(':').unwrap_or((user, ""));
                (Some((decode(user)?, decode(password)?)), address)
            }
        };
        // The colons of an IPv6 address are within brackets.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (address, None),
        };
        if host.is_empty() {
            return Err(invalid_url(
                "the URL names no host; give `sqlserver://host/…`",
            ));
        }
        let port = port.map(str::parse).transpose();
        let port = port.map_err(|_| invalid_url("the URL's port is no number"))?;
        let mut options = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            options.push((key.to_ascii_lowercase(), decode(value)?));
        }
        let database = (!database.is_empty()).then(|| decode(database));
        Ok(Some(Self {
            user,
            host: decode(host)?,
            port,
            database: database.transpose()?,
            options,
        }))
    }
}

/// Percent-decodes a part of a URL.
fn decode(text: &str) -> Result<String, Error> {
    percent_decode(text).map_err(invalid_url)
}

/// Whether a text begins as a connection string does.
pub(crate) fn is_ado(text: &str) -> bool {
    let key = text.split('=').next().unwrap_or_default().trim();
    text.contains('=')
        && [
            "server",
            "data source",
            "addr",
            "address",
            "network address",
        ]
        .iter()
        .any(|known| key.eq_ignore_ascii_case(known))
}

/// Splits a connection string into what the driver reads and what this crate
/// does.
pub(crate) fn split_ado(text: &str) -> Result<(String, Vec<(String, String)>), Error> {
    let (mut plain, mut own) = (String::new(), Vec::new());
    for part in parts(text) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let key = key.trim().to_ascii_lowercase().replace(' ', "_");
        match key.as_str() {
            "schema" | "pool" | "statement_timeout" => {
                let value = value.trim();
                let quoted = ['"', '\''].into_iter().find_map(|quote| {
                    value
                        .strip_prefix(quote)
                        .and_then(|value| value.strip_suffix(quote))
                });
                own.push((key, quoted.unwrap_or(value).to_owned()));
            }
            _ => {
                plain.push_str(part);
                plain.push(';');
            }
        }
    }
    if plain.is_empty() {
        return Err(invalid_url("the connection string names no server"));
    }
    Ok((plain, own))
}

/// The parts between semicolons; those within quotes or braces divide nothing.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut inside: Option<char> = None;
    let ends = move |c: char| {
        match (inside, c) {
            (Some(end), c) if c == end => inside = None,
            (None, '"' | '\'') => inside = Some(c),
            (None, '{') => inside = Some('}'),
            (None, ';') => return true,
            _ => {}
        }
        false
    };
    text.split(ends).filter(|part| !part.trim().is_empty())
}
