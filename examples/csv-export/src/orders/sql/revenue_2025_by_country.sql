-- What 2025 brought in, a row a country; called-off orders bring nothing in.
SELECT country,
       count(*)                                 AS orders,
       sum(quantity)                            AS items,
       sum(quantity * unit_price_cents) / 100.0 AS revenue
FROM orders
WHERE date BETWEEN '2025-01-01' AND '2025-12-31'
  AND status NOT IN ('cancelled', 'refunded')
  AND (:status IS NULL OR status = :status)
  AND (:country IS NULL OR country = :country)
GROUP BY country
ORDER BY revenue DESC
LIMIT :limit
