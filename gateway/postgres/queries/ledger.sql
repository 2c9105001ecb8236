-- name: post_batch
SELECT settlements, extensions, wishes FROM post_batch($1, $2, $3, $4, $5, $6);

-- name: rehearse_batch
SELECT rehearse_batch();

-- name: keep_pin
INSERT INTO price_pin (id, prices) VALUES ($1, $2::text::jsonb) ON CONFLICT (id) DO NOTHING;

-- name: quarantine
INSERT INTO quarantine (org_id, id, payload, error) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: recover
SELECT ended, charged_ucr FROM recover_reservations($1, $2, '{}', $3, 1000);

-- name: oldest_snapshot
SELECT oldest_snapshot_s();

-- name: make_months
SELECT make_ledger_month((now() AT TIME ZONE 'UTC' + make_interval(months => ahead))::date)
  FROM generate_series(0, $1::integer) AS ahead;

-- name: forget_idempotency_keys
DELETE FROM idempotency_key WHERE created_at < clock_timestamp() - interval '24 hours';
