//! Parameters of statements, encoded at once so that a call borrows nothing.

/// The parameters of a statement, in their order.
macro_rules! args {
    ($($value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut args = sqlx::postgres::PgArguments::default();
        $($crate::args::add(&mut args, $value);)*
        args
    }};
}
pub(crate) use args;

use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, Encode, Postgres, Type};

/// Adds a parameter.
pub(crate) fn add<'q, T: Encode<'q, Postgres> + Type<Postgres>>(args: &mut PgArguments, value: T) {
    // Numbers, texts, ids and arrays of them always encode; should one not, the
    // server refuses the statement for its missing parameter.
    let _ = args.add(value);
}
