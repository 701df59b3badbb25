-- The orders of 2025, newest first.
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
WHERE date BETWEEN '2025-01-01' AND '2025-12-31'
  AND (:status IS NULL OR status = :status)
  AND (:country IS NULL OR country = :country)
ORDER BY id DESC
LIMIT :limit
