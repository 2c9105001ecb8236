-- A list reads the primary key from the page's edge on, $4 rows at most: so a page costs alike however long the history is
-- and however rare what is asked for. Of the two halves of each only one is run: $5 says that rows of calls cannot be
-- meant, and those of a partial index are few.
-- $1 organisation · $2 first id · $3 id past the last · $4 rows to look at · $5 beside calls alone · $6 type · $7 reason
-- $8 model · $9 user (whose calls, or whose account) · $10 key · $11 tag

-- name: newest_first
SELECT id, account_id, kind, CASE WHEN ended IS NOT NULL THEN 'USAGE' ELSE coalesce(transaction_type, kind) END AS transaction_type,
       coalesce(reason, CASE WHEN ended IS NOT NULL THEN 'MODEL_USAGE' END) AS reason, note, actor, amount_ucr, balance_after_ucr,
       ref_id, created_at AS posted_at, ended, user_id, key_id, nullif(model, '') AS model, feature, prompt_tokens, cached_tokens,
       output_tokens, reasoning_tokens, charged_by(kind, amount_ucr) + coalesce(overage_ucr::bigint, 0)
       + coalesce(waived_ucr::bigint, 0) AS cost_ucr, charged_by(kind, amount_ucr) AS charged_ucr,
       coalesce(overage_ucr, 0) AS overage_ucr, coalesce(waived_ucr, 0) AS waived_ucr, tags
  FROM ((SELECT * FROM ledger WHERE NOT $5::boolean AND org_id = $1 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4)
        UNION ALL
        (SELECT * FROM ledger WHERE $5 AND ended IS NULL AND org_id = $1 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4)) AS looked
 WHERE kind <> 'RELEASE'
   AND ($6::text IS NULL OR CASE WHEN ended IS NOT NULL THEN 'USAGE' ELSE coalesce(transaction_type, kind) END = $6)
   AND ($7::text IS NULL OR coalesce(reason, CASE WHEN ended IS NOT NULL THEN 'MODEL_USAGE' END) = $7)
   AND ($8::text IS NULL OR model = $8)
   AND ($9::uuid IS NULL OR user_id = $9 OR account_id = $9)
   AND ($10::uuid IS NULL OR key_id = $10)
   AND ($11::text IS NULL OR tags ? $11)
 ORDER BY id DESC
 LIMIT $12 OFFSET $13;

-- name: oldest_first
SELECT id, account_id, kind, CASE WHEN ended IS NOT NULL THEN 'USAGE' ELSE coalesce(transaction_type, kind) END AS transaction_type,
       coalesce(reason, CASE WHEN ended IS NOT NULL THEN 'MODEL_USAGE' END) AS reason, note, actor, amount_ucr, balance_after_ucr,
       ref_id, created_at AS posted_at, ended, user_id, key_id, nullif(model, '') AS model, feature, prompt_tokens, cached_tokens,
       output_tokens, reasoning_tokens, charged_by(kind, amount_ucr) + coalesce(overage_ucr::bigint, 0)
       + coalesce(waived_ucr::bigint, 0) AS cost_ucr, charged_by(kind, amount_ucr) AS charged_ucr,
       coalesce(overage_ucr, 0) AS overage_ucr, coalesce(waived_ucr, 0) AS waived_ucr, tags
  FROM ((SELECT * FROM ledger WHERE NOT $5::boolean AND org_id = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT $4)
        UNION ALL
        (SELECT * FROM ledger WHERE $5 AND ended IS NULL AND org_id = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT $4)) AS looked
 WHERE kind <> 'RELEASE'
   AND ($6::text IS NULL OR CASE WHEN ended IS NOT NULL THEN 'USAGE' ELSE coalesce(transaction_type, kind) END = $6)
   AND ($7::text IS NULL OR coalesce(reason, CASE WHEN ended IS NOT NULL THEN 'MODEL_USAGE' END) = $7)
   AND ($8::text IS NULL OR model = $8)
   AND ($9::uuid IS NULL OR user_id = $9 OR account_id = $9)
   AND ($10::uuid IS NULL OR key_id = $10)
   AND ($11::text IS NULL OR tags ? $11)
 ORDER BY id
 LIMIT $12 OFFSET $13;

-- name: by_amount
-- $14: largest first. After ($15, $16), where the list goes on. Only for ranges that can be sorted whole.
SELECT id, account_id, kind, CASE WHEN ended IS NOT NULL THEN 'USAGE' ELSE coalesce(transaction_type, kind) END AS transaction_type,
       coalesce(reason, CASE WHEN ended IS NOT NULL THEN 'MODEL_USAGE' END) AS reason, note, actor, amount_ucr, balance_after_ucr,
       ref_id, created_at AS posted_at, ended, user_id, key_id, nullif(model, '') AS model, feature, prompt_tokens, cached_tokens,
       output_tokens, reasoning_tokens, charged_by(kind, amount_ucr) + coalesce(overage_ucr::bigint, 0)
       + coalesce(waived_ucr::bigint, 0) AS cost_ucr, charged_by(kind, amount_ucr) AS charged_ucr,
       coalesce(overage_ucr, 0) AS overage_ucr, coalesce(waived_ucr, 0) AS waived_ucr, tags
  FROM ((SELECT * FROM ledger WHERE NOT $5::boolean AND org_id = $1 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4)
        UNION ALL
        (SELECT * FROM ledger WHERE $5 AND ended IS NULL AND org_id = $1 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4)) AS looked
 WHERE kind <> 'RELEASE'
   AND ($6::text IS NULL OR CASE WHEN ended IS NOT NULL THEN 'USAGE' ELSE coalesce(transaction_type, kind) END = $6)
   AND ($7::text IS NULL OR coalesce(reason, CASE WHEN ended IS NOT NULL THEN 'MODEL_USAGE' END) = $7)
   AND ($8::text IS NULL OR model = $8)
   AND ($9::uuid IS NULL OR user_id = $9 OR account_id = $9)
   AND ($10::uuid IS NULL OR key_id = $10)
   AND ($11::text IS NULL OR tags ? $11)
   AND ($15::bigint IS NULL OR (CASE WHEN $14::boolean THEN -amount_ucr ELSE amount_ucr END, id) > ($15, $16::uuid))
 ORDER BY CASE WHEN $14 THEN -amount_ucr ELSE amount_ucr END, id
 LIMIT $12 OFFSET $13;

-- name: look_back
-- How many rows were there to look at, how many of them are meant, and which was the last.
WITH looked AS MATERIALIZED (
    SELECT id, kind <> 'RELEASE'
           AND ($6::text IS NULL OR CASE WHEN ended IS NOT NULL THEN 'USAGE' ELSE coalesce(transaction_type, kind) END = $6)
           AND ($7::text IS NULL OR coalesce(reason, CASE WHEN ended IS NOT NULL THEN 'MODEL_USAGE' END) = $7)
           AND ($8::text IS NULL OR model = $8)
           AND ($9::uuid IS NULL OR user_id = $9 OR account_id = $9)
           AND ($10::uuid IS NULL OR key_id = $10)
           AND ($11::text IS NULL OR tags ? $11) AS meant
      FROM ((SELECT * FROM ledger WHERE NOT $5::boolean AND org_id = $1 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4)
            UNION ALL
            (SELECT * FROM ledger WHERE $5 AND ended IS NULL AND org_id = $1 AND id >= $2 AND id < $3
              ORDER BY id DESC LIMIT $4)) AS parts
)
SELECT count(*) AS looked, count(*) FILTER (WHERE meant) AS meant, (SELECT id FROM looked ORDER BY id LIMIT 1) AS last_id
  FROM looked;

-- name: look_ahead
-- How many rows were there to look at, how many of them are meant, and which was the last.
WITH looked AS MATERIALIZED (
    SELECT id, kind <> 'RELEASE'
           AND ($6::text IS NULL OR CASE WHEN ended IS NOT NULL THEN 'USAGE' ELSE coalesce(transaction_type, kind) END = $6)
           AND ($7::text IS NULL OR coalesce(reason, CASE WHEN ended IS NOT NULL THEN 'MODEL_USAGE' END) = $7)
           AND ($8::text IS NULL OR model = $8)
           AND ($9::uuid IS NULL OR user_id = $9 OR account_id = $9)
           AND ($10::uuid IS NULL OR key_id = $10)
           AND ($11::text IS NULL OR tags ? $11) AS meant
      FROM ((SELECT * FROM ledger WHERE NOT $5::boolean AND org_id = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT $4)
            UNION ALL
            (SELECT * FROM ledger WHERE $5 AND ended IS NULL AND org_id = $1 AND id >= $2 AND id < $3
              ORDER BY id LIMIT $4)) AS parts
)
SELECT count(*) AS looked, count(*) FILTER (WHERE meant) AS meant, (SELECT id FROM looked ORDER BY id DESC LIMIT 1) AS last_id
  FROM looked;

-- name: is_longer_than
SELECT count(*) > $6
  FROM ((SELECT FROM ledger WHERE NOT $5::boolean AND org_id = $1 AND id >= $2 AND id < $3 LIMIT $4)
        UNION ALL
        (SELECT FROM ledger WHERE $5 AND ended IS NULL AND org_id = $1 AND id >= $2 AND id < $3 LIMIT $4)) AS looked;

-- name: open_reservations
-- $1 organisation · $2 first id · $3 id past the last · $4 model · $5 user · $6 key · $7 rows. What is open is bounded by what
-- runs at a time.
SELECT id, account_id, amount_ucr AS held_ucr, created_at, expires_at, coalesce(owner_kind, 'instance') AS owner_kind, user_id,
       key_id, nullif(model, '') AS model, nullif(feature, '') AS feature
  FROM reservation
 WHERE org_id = $1 AND id >= $2 AND id < $3
   AND ($4::text IS NULL OR model = $4)
   AND ($5::uuid IS NULL OR user_id = $5 OR account_id = $5)
   AND ($6::uuid IS NULL OR key_id = $6)
 ORDER BY id DESC
 LIMIT $7;
