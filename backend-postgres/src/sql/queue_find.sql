-- The numbers of queues by name; those that are not known are left out.
SELECT name, queue FROM {s}.queues WHERE name = ANY ($1::text[])
