//! Parameters of statements. Everything from outside goes this way, never into a
//! statement's text.

use serde::Serialize;
use tiberius::Query;
use uuid::Uuid;

use crate::error::Failure;

/// A parameter of a statement: `@P1` is the first.
#[derive(Debug, Clone)]
pub(crate) enum Param {
    Number(i64),
    Optional(Option<i64>),
    Text(String),
    Flag(bool),
}

impl Param {
    pub(crate) fn bind<'a>(&'a self, query: &mut Query<'a>) {
        match self {
            Self::Number(number) => query.bind(*number),
            Self::Optional(number) => query.bind(*number),
            Self::Text(text) => query.bind(text.as_str()),
            Self::Flag(flag) => query.bind(*flag),
        }
    }
}

macro_rules! params {
    ($($type:ty => $name:ident),+ $(,)?) => {$(
        impl From<$type> for Param {
            fn from(value: $type) -> Self {
                Self::$name(value.into())
            }
        }
    )+};
}

params! {
    i32 => Number,
    u32 => Number,
    i64 => Number,
    Option<i64> => Optional,
    &str => Text,
    String => Text,
    bool => Flag,
}

/// The parameters of a statement, in their order.
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::args::Param::from($value)),*]
    };
}
pub(crate) use args;

/// Rows for OPENJSON: an array of arrays.
pub(crate) fn json<T: Serialize>(rows: &[T]) -> Result<String, Failure> {
    serde_json::to_string(rows).map_err(|_| Failure::unencodable())
}

/// The most UTF-16 units of a text within a row: of a longer one the declared
/// columns of OPENJSON hold no more on every server.
const WHOLE: usize = 4_000;

/// Long texts in pieces: rows of place, number and text.
#[derive(Debug, Default)]
pub(crate) struct Pieces<'a>(Vec<(usize, usize, &'a str)>);

impl<'a> Pieces<'a> {
    /// A text for the row of this place; `None` where it goes in pieces.
    pub(crate) fn text(&mut self, place: usize, text: &'a str) -> Option<&'a str> {
        // No text has more units than bytes.
        if text.len() <= WHOLE || text.encode_utf16().count() <= WHOLE {
            return Some(text);
        }
        let (mut begin, mut units) = (0, 0);
        for (at, c) in text.char_indices() {
            if units + c.len_utf16() > WHOLE {
                self.0.push((place, begin, &text[begin..at]));
                (begin, units) = (at, 0);
            }
            units += c.len_utf16();
        }
        self.0.push((place, begin, &text[begin..]));
        None
    }

    pub(crate) fn json(&self) -> Result<String, Failure> {
        json(&self.0)
    }
}

/// An id as statements take it: the text of the `uniqueidentifier` whose 16 bytes,
/// CAST to binary, are the id's in their own order. (SQL Server keeps the first
/// three groups of a `uniqueidentifier` with the lowest byte first.)
pub(crate) fn text(id: anyqueue_core::JobId) -> String {
    Uuid::from_bytes(Uuid::from(id).to_bytes_le()).to_string()
}

/// Ids for OPENJSON, each once, in the order in which all calls lock jobs.
pub(crate) fn ids(ids: &[anyqueue_core::JobId]) -> Result<String, Failure> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let rows: Vec<[String; 1]> = sorted.into_iter().map(|id| [text(id)]).collect();
    json(&rows)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_long_text_goes_in_pieces_that_divide_no_character() {
        let mut pieces = super::Pieces::default();
        let whole = "é".repeat(4_000);
        assert_eq!(pieces.text(0, &whole), Some(whole.as_str()));
        let long = format!("a{}", "😀".repeat(4_000));
        assert_eq!(pieces.text(1, &long), None);
        let all: String = pieces.0.iter().map(|(_, _, text)| *text).collect();
        assert_eq!(all, long);
        assert_eq!(pieces.0.len(), 3);
        assert!(pieces.0.iter().all(|piece| piece.0 == 1));
        assert!(pieces.0.is_sorted_by_key(|piece| piece.1));
        assert!(
            pieces
                .0
                .iter()
                .all(|piece| piece.2.encode_utf16().count() <= 4_000)
        );
    }

    #[test]
    fn an_id_is_written_so_that_its_cast_to_binary_is_its_bytes() {
        let id: anyqueue_core::JobId = "0190aabb-ccdd-7eff-8011-223344556677".parse().unwrap();
        assert_eq!(super::text(id), "bbaa9001-ddcc-ff7e-8011-223344556677");
    }
}
