-- name: take
-- Rows that another consumer has in hand are passed over; these are gone when the transaction is committed.
WITH next AS (
    SELECT org_id, id FROM outbox WHERE topic = ANY ($1::text[]) ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM outbox AS o
 USING next AS n
 WHERE o.org_id = n.org_id AND o.id = n.id
RETURNING o.org_id, o.id, o.topic, o.account_id, o.payload::text, o.created_at;

-- name: waiting
-- Counted up to a bound, so that a long queue costs no more than that.
SELECT count(*) AS rows,
       coalesce(extract(epoch FROM clock_timestamp() - (SELECT created_at FROM outbox ORDER BY id LIMIT 1)), 0)::float8 AS oldest_s
  FROM (SELECT FROM outbox LIMIT 10001) AS waiting;
