-- Every order, in the order of its number. Served by the primary key.
SELECT id,
       date,
       customer,
       country,
       product,
       quantity,
       unit_price_cents / 100.0            AS unit_price,
       quantity * unit_price_cents / 100.0 AS total,
       status
FROM orders
WHERE (:status IS NULL OR status = :status)
  AND (:country IS NULL OR country = :country)
ORDER BY id
LIMIT :limit
