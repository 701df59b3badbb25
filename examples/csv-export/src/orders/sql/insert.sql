INSERT INTO orders (id, date, customer, country, product, quantity, unit_price_cents, status)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
