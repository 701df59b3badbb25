-- What each product brought in, a row a month and product.
SELECT substr(date, 1, 7)                       AS month,
       product,
       count(*)                                 AS orders,
       sum(quantity)                            AS items,
       sum(quantity * unit_price_cents) / 100.0 AS revenue
FROM orders
WHERE status NOT IN ('cancelled', 'refunded')
  AND (:status IS NULL OR status = :status)
  AND (:country IS NULL OR country = :country)
GROUP BY month, product
ORDER BY month, product
LIMIT :limit
