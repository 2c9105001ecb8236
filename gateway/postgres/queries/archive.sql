-- name: take_turn
SELECT pg_try_advisory_lock(hashtext('tollgate ledger archive'));

-- name: end_turn
SELECT pg_advisory_unlock(hashtext('tollgate ledger archive'));

-- name: months_before
-- $2: seconds after its end during which something may still happen to a month.
SELECT to_char(first_day, 'YYYY-MM') AS name, first_day, first_id, end_id,
       (first_day + interval '1 month') AT TIME ZONE 'UTC' + make_interval(secs => $2) AS rests_at,
       (first_day + interval '1 month') AT TIME ZONE 'UTC' + make_interval(secs => $2) <= clock_timestamp() AS rests
  FROM ledger_month
 WHERE detached_at IS NULL AND first_day < $1
 ORDER BY first_day;

-- name: close_month
SELECT close_ledger_month($1);

-- name: reopen_month
SELECT reopen_ledger_month($1);

-- name: write_closings
SELECT org_id, account_id, proven FROM write_closings($1, $2, $3, $4);

-- name: columns
-- The table's, in its order, then what rows_of_page shows of what follows from them.
SELECT name, type
  FROM (SELECT attnum, attname AS name, format_type(atttypid, atttypmod) AS type
          FROM pg_attribute
         WHERE attrelid = 'ledger'::regclass AND attnum > 0 AND NOT attisdropped
         UNION ALL
        VALUES (32001, 'contra', 'text'), (32002, 'charged_ucr', 'bigint'), (32003, 'cost_ucr', 'bigint'),
               (32004, 'upstream_model_of', 'text')) AS c
 ORDER BY attnum;

-- name: last_of_page
SELECT org_id, id FROM ledger
 WHERE id >= $1 AND id < $2 AND (org_id, id) > ($3::uuid, $4::uuid)
 ORDER BY org_id, id
OFFSET $5::integer - 1 LIMIT 1;

-- name: rows_of_page
SELECT l.*, contra(l), charged_ucr(l), cost_ucr(l), upstream_model_of(l) FROM ledger AS l
 WHERE id >= $1 AND id < $2 AND (org_id, id) > ($3::uuid, $4::uuid) AND (org_id, id) <= ($5::uuid, $6::uuid)
 ORDER BY org_id, id;

-- name: totals_of_page
-- No min(uuid) before PostgreSQL 18; as text they order alike.
SELECT kind, count(*) AS rows, sum(amount_ucr)::bigint AS amount_ucr, min(id::text COLLATE "C")::uuid AS first_id,
       max(id::text COLLATE "C")::uuid AS last_id
  FROM ledger
 WHERE id >= $1 AND id < $2 AND (org_id, id) > ($3::uuid, $4::uuid) AND (org_id, id) <= ($5::uuid, $6::uuid)
 GROUP BY kind;

-- name: detach_month
SELECT detach_ledger_month($1, $2, $3);

-- name: months
-- Rows of a month that is attached are the planner's estimate, -1 where it has none.
SELECT to_char(m.first_day, 'YYYY-MM') AS name,
       CASE WHEN m.detached_at IS NOT NULL THEN 'archived' WHEN m.closed_at IS NOT NULL THEN 'closed' ELSE 'attached' END AS state,
       coalesce(m.archived_rows, t.reltuples::bigint) AS rows, pg_total_relation_size(t.oid) AS bytes, m.closed_at,
       m.detached_at AS archived_at
  FROM ledger_month AS m
  LEFT JOIN pg_class AS t ON t.oid = to_regclass(ledger_month_table(m.first_day))
 ORDER BY m.first_day;

-- name: owns_ledger
SELECT pg_has_role(relowner, 'MEMBER') FROM pg_class WHERE oid = 'ledger'::regclass;
