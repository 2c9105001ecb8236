-- Reservations of outside callers and of jobs.

-- name: reserve
SELECT status, answer FROM reserve_owned($1, $2, $3, $4, $5, $6);

-- name: extend
SELECT status, answer FROM extend_owned($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: settle
SELECT status, answer FROM settle_owned($1, $2, $3, $4, $5, $6, $7);

-- name: find
SELECT id, account_id, amount_ucr AS held_ucr, spent_ucr, user_id, key_id, model, created_at, expires_at
  FROM reservation
 WHERE org_id = $1 AND owner_kind = $2 AND owner_id = $3 AND id = $4;

-- name: page
SELECT id, account_id, amount_ucr AS held_ucr, spent_ucr, user_id, key_id, model, created_at, expires_at
  FROM reservation
 WHERE org_id = $1 AND owner_kind = $2 AND owner_id = $3 AND id > $4
 ORDER BY id
 LIMIT $5;

-- name: due
SELECT DISTINCT org_id, account_id FROM reservation WHERE expires_at <= clock_timestamp() LIMIT $1;

-- name: expire
SELECT ended, charged_ucr FROM expire_reservations($1, $2, $3, $4);

-- name: open_job
SELECT status, answer FROM open_job($1, $2, $3, $4, $5, $6, $7, $8);

-- name: end_job
SELECT status, answer FROM end_job($1, $2, $3, $4);

-- name: find_job
SELECT id, kind, created_at, expires_at, ended_at FROM job WHERE org_id = $1 AND id = $2 AND opened_for = $3;

-- name: open_jobs
SELECT id, kind, created_at, expires_at, ended_at
  FROM job
 WHERE org_id = $1 AND opened_for = $2 AND ended_at IS NULL AND id > $3
 ORDER BY id
 LIMIT $4;

-- name: jobs_for
-- The newest, also those that have ended.
SELECT id, kind, created_at, expires_at, ended_at FROM job WHERE org_id = $1 AND opened_for = $2 ORDER BY id DESC LIMIT $3;

-- name: accounts_of_owner
SELECT DISTINCT account_id FROM reservation WHERE org_id = $1 AND owner_kind = 'job' AND owner_id = $2 ORDER BY account_id;

-- name: end_jobs_due
UPDATE job SET ended_at = clock_timestamp() WHERE ended_at IS NULL AND expires_at <= clock_timestamp() RETURNING org_id, id;
