-- One row an order line. Money is kept in cents, dates as ISO 8601 text.
CREATE TABLE orders (
    id               INTEGER PRIMARY KEY,
    date             TEXT    NOT NULL,
    customer         TEXT    NOT NULL,
    country          TEXT    NOT NULL,
    product          TEXT    NOT NULL,
    quantity         INTEGER NOT NULL,
    unit_price_cents INTEGER NOT NULL,
    status           TEXT    NOT NULL
);
