-- Orders that someone still has to do something about, oldest first.
SELECT id,
       date,
       customer,
       country,
       product,
       quantity,
       quantity * unit_price_cents / 100.0 AS total,
       status
FROM orders
WHERE status IN ('pending', 'paid', 'shipped')
  AND (:status IS NULL OR status = :status)
  AND (:country IS NULL OR country = :country)
ORDER BY id
LIMIT :limit
