-- name: open_account
INSERT INTO account (org_id, account_id) VALUES ($1, $2) ON CONFLICT (org_id, account_id) DO NOTHING;

-- name: open_allocation
INSERT INTO account (org_id, account_id, kind, user_id) VALUES ($1, $2, 'user', $3) ON CONFLICT (org_id, account_id) DO NOTHING;

-- name: open_restricted
INSERT INTO account (org_id, account_id, kind, name, models, features)
VALUES ($1, $2, 'restricted', $3, $4, $5)
ON CONFLICT (org_id, account_id) DO NOTHING;

-- name: lock_pool
SELECT lock_pool($1);

-- name: paying
SELECT EXISTS (SELECT FROM org_user WHERE org_id = $1 AND user_id = $2) AS knows_user,
       coalesce((SELECT payment_order FROM credit_policy WHERE org_id = $1), 'allocation_first') AS payment_order,
       coalesce((SELECT json_agg(json_build_object('account_id', x.account_id, 'kind', x.kind, 'user_id', x.user_id,
                                                   'models', x.models, 'features', x.features) ORDER BY x.account_id)::text
                   FROM (SELECT * FROM account WHERE org_id = $1 AND kind = 'pool'
                         UNION ALL SELECT * FROM account WHERE org_id = $1 AND kind = 'user' AND status <> 'closed' AND user_id = $2
                         UNION ALL SELECT * FROM account WHERE org_id = $1 AND kind = 'restricted') AS x
                  WHERE x.status <> 'closed'), '[]') AS accounts;

-- name: set_status
UPDATE account
   SET status = $2
 WHERE org_id = $1
   AND account_id = ANY (ARRAY(SELECT a.account_id FROM account a
                                WHERE a.org_id = $1 AND a.status IN ('active', 'suspended')
                                ORDER BY a.account_id
                                  FOR NO KEY UPDATE));

-- name: due_of_org
SELECT account_id FROM account WHERE org_id = $1 AND next_change_at <= clock_timestamp() ORDER BY account_id;

-- name: due
SELECT org_id, account_id FROM account WHERE next_change_at <= clock_timestamp() ORDER BY next_change_at LIMIT $1;

-- name: bring_up_to_date
SELECT FROM lock_account($1, $2);

-- name: balance
SELECT coalesce(sum(balance_ucr), 0)::bigint            AS balance_ucr,
       coalesce(sum(held_ucr), 0)::bigint               AS held_ucr,
       coalesce(sum(balance_ucr - held_ucr), 0)::bigint AS available_ucr,
       coalesce(sum(receivable_ucr), 0)::bigint         AS receivable_ucr,
       coalesce(sum(open_count), 0)::bigint             AS open_count,
       coalesce(sum(granted_ucr), 0)::bigint            AS granted_ucr,
       coalesce(sum(used_ucr), 0)::bigint               AS used_ucr
  FROM account
 WHERE org_id = $1;

-- name: balance_of_account
SELECT balance_ucr, held_ucr, balance_ucr - held_ucr AS available_ucr, receivable_ucr, open_count::bigint, granted_ucr, used_ucr
  FROM account
 WHERE org_id = $1 AND account_id = $2;

-- name: count_transactions
SELECT count(*) FROM ledger WHERE org_id = $1 AND ($2 OR kind <> 'RELEASE');

-- Each account's history comes from its index as far as the page needs it, so that a page costs alike however long it is.

-- name: transactions_oldest_first
SELECT h.id, h.account_id, h.kind, h.transaction_type, h.reason, h.note, h.actor, h.amount_ucr, h.balance_after_ucr, h.ref_id,
       h.created_at, h.ended, h.key_id, h.user_id, h.model, h.cost_ucr,
       CASE WHEN h.ended IS NOT NULL THEN coalesce(h.overage_ucr, 0) END AS overage_ucr,
       CASE WHEN h.ended IS NOT NULL THEN coalesce(h.waived_ucr, 0) END AS waived_ucr
  FROM account a
 CROSS JOIN LATERAL (
        SELECT l.*, cost_ucr(l)
          FROM ledger l
         WHERE l.account_id = a.account_id AND l.org_id = a.org_id AND ($4 OR l.kind <> 'RELEASE')
         ORDER BY l.version
         LIMIT $2::bigint + $3::bigint) AS h
 WHERE a.org_id = $1
 ORDER BY h.created_at, h.version, h.id
 LIMIT $2 OFFSET $3;

-- name: transactions_newest_first
SELECT h.id, h.account_id, h.kind, h.transaction_type, h.reason, h.note, h.actor, h.amount_ucr, h.balance_after_ucr, h.ref_id,
       h.created_at, h.ended, h.key_id, h.user_id, h.model, h.cost_ucr,
       CASE WHEN h.ended IS NOT NULL THEN coalesce(h.overage_ucr, 0) END AS overage_ucr,
       CASE WHEN h.ended IS NOT NULL THEN coalesce(h.waived_ucr, 0) END AS waived_ucr
  FROM account a
 CROSS JOIN LATERAL (
        SELECT l.*, cost_ucr(l)
          FROM ledger l
         WHERE l.account_id = a.account_id AND l.org_id = a.org_id AND ($4 OR l.kind <> 'RELEASE')
         ORDER BY l.version DESC
         LIMIT $2::bigint + $3::bigint) AS h
 WHERE a.org_id = $1
 ORDER BY h.created_at DESC, h.version DESC, h.id DESC
 LIMIT $2 OFFSET $3;

-- name: transactions_smallest_first
SELECT id, account_id, kind, transaction_type, reason, note, actor, amount_ucr, balance_after_ucr, ref_id, created_at, ended,
       key_id, user_id, model, cost_ucr(ledger), CASE WHEN ended IS NOT NULL THEN coalesce(overage_ucr, 0) END AS overage_ucr,
       CASE WHEN ended IS NOT NULL THEN coalesce(waived_ucr, 0) END AS waived_ucr
  FROM ledger
 WHERE org_id = $1 AND ($4 OR kind <> 'RELEASE')
 ORDER BY amount_ucr, id
 LIMIT $2 OFFSET $3;

-- name: transactions_largest_first
SELECT id, account_id, kind, transaction_type, reason, note, actor, amount_ucr, balance_after_ucr, ref_id, created_at, ended,
       key_id, user_id, model, cost_ucr(ledger), CASE WHEN ended IS NOT NULL THEN coalesce(overage_ucr, 0) END AS overage_ucr,
       CASE WHEN ended IS NOT NULL THEN coalesce(waived_ucr, 0) END AS waived_ucr
  FROM ledger
 WHERE org_id = $1 AND ($4 OR kind <> 'RELEASE')
 ORDER BY amount_ucr DESC, id DESC
 LIMIT $2 OFFSET $3;
