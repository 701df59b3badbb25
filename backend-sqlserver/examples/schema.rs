//! Prints the statements that make a store, for shops where the application may
//! not: `cargo run -p anyqueue-sqlserver --example schema -- jobs > jobs.sql`.

use std::io::Write as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = match std::env::args().nth(1) {
        Some(name) => anyqueue_sqlserver::Schema::new(name)?,
        None => anyqueue_sqlserver::Schema::default(),
    };
    std::io::stdout().write_all(schema.script().as_bytes())?;
    Ok(())
}
