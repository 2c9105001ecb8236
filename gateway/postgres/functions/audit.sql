-- The invariants of gateway/ledger/README.md as a query. STABLE, so that everything is seen at one instant.

-- Each row is a breach. p_after and what follows are the account's last sound state; zeros check from the beginning, which
-- is the closing of the last month that has left where there is one.
CREATE OR REPLACE FUNCTION violations(p_org uuid, p_account uuid, p_after bigint, p_balance bigint, p_receivable bigint)
RETURNS TABLE (invariant integer, id uuid, detail text)
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
DECLARE
    a        account;
    v_start  record := closing_of(p_org, p_account);
    v_full   boolean := p_after = 0 OR p_after < v_start.through_version;
    v_grants bigint;
    v_spent  bigint;
    v_ledger record;
    v_open   record;
BEGIN
    IF v_full THEN
        p_after := v_start.through_version;
        p_balance := v_start.balance_ucr;
        p_receivable := v_start.receivable_ucr;
    END IF;
    SELECT * INTO STRICT a FROM account x WHERE x.org_id = p_org AND x.account_id = p_account;
    SELECT coalesce(sum(g.remaining_ucr), 0), coalesce(sum(g.remaining_ucr) FILTER (WHERE g.expired_at IS NOT NULL), 0)
      INTO v_grants, v_spent
      FROM credit_grant g WHERE g.org_id = p_org AND g.account_id = p_account AND g.live;
    SELECT count(*) AS rows, coalesce(sum(l.amount_ucr), 0) AS amount,
           coalesce(sum(owed_by(l)), 0) AS receivable
      INTO v_ledger
      FROM ledger l WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > p_after;
    SELECT count(*) AS rows, coalesce(sum(r.amount_ucr), 0) AS amount INTO v_open
      FROM reservation r WHERE r.org_id = p_org AND r.account_id = p_account;

    RETURN QUERY SELECT 1, p_account, format('balance %s, its grants %s', a.balance_ucr, v_grants)
        WHERE a.balance_ucr <> v_grants;
    RETURN QUERY SELECT 1, p_account, format('balance %s, its ledger %s', a.balance_ucr, p_balance + v_ledger.amount)
        WHERE a.balance_ucr <> p_balance + v_ledger.amount;
    RETURN QUERY SELECT 1, p_account, format('version %s, but %s rows after %s', a.version, v_ledger.rows, p_after)
        WHERE a.version <> p_after + v_ledger.rows;
    RETURN QUERY
        SELECT 1, c.id, format('version %s after %s, balance %s after %s and %s', c.version, c.before, c.balance_after_ucr,
                               c.balance_before, c.amount_ucr)
          FROM (SELECT l.id, l.version, l.balance_after_ucr, l.amount_ucr, lag(l.version, 1, p_after) OVER w AS before,
                       lag(l.balance_after_ucr::bigint, 1, p_balance) OVER w AS balance_before
                  FROM ledger l
                 WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > p_after
                WINDOW w AS (ORDER BY l.version)) AS c
         WHERE c.version <> c.before + 1 OR c.balance_after_ucr <> c.balance_before + c.amount_ucr;

    RETURN QUERY SELECT 2, p_account, format('held %s in %s, open %s in %s', a.held_ucr, a.open_count, v_open.amount, v_open.rows)
        WHERE a.held_ucr <> v_open.amount OR a.open_count <> v_open.rows;

    IF a.kind = 'pool' THEN
        -- Once for the organisation, whose accounts share its budgets.
        RETURN QUERY
            SELECT 2, b.budget_id, format('budget period %s: held %s in %s, open %s in %s', p.id, p.held_ucr, coalesce(o.ucr, 0),
                                          p.open_count, coalesce(o.calls, 0))
              FROM budget_period p JOIN budget b ON b.org_id = p.org_id AND b.budget_id = p.budget_id
              LEFT JOIN (SELECT u AS id, sum(r.amount_ucr) AS ucr, count(*) AS calls
                           FROM reservation r, unnest(r.budgets::integer[]) AS u WHERE r.org_id = p_org GROUP BY u) AS o ON o.id = p.id
             WHERE p.org_id = p_org AND (p.held_ucr <> coalesce(o.ucr, 0) OR p.open_count <> coalesce(o.calls, 0));
    END IF;

    RETURN QUERY
        SELECT 3, g.id, format('remaining %s of %s', g.remaining_ucr, g.amount_ucr)
          FROM credit_grant g
         WHERE g.org_id = p_org AND g.account_id = p_account AND g.live
           AND (g.remaining_ucr > g.amount_ucr OR g.activated_at IS NULL AND g.remaining_ucr > 0);

    RETURN QUERY
        SELECT 4, r.id, 'open and ended'
          FROM reservation r JOIN ledger l ON l.org_id = r.org_id AND l.id = r.id
         WHERE r.org_id = p_org AND r.account_id = p_account;
    RETURN QUERY
        SELECT 4, l.id, format('a late row whose call %s', coalesce('ended ' || b.ended, 'has no ending'))
          FROM ledger l LEFT JOIN ledger b ON b.org_id = l.org_id AND b.id = l.ref_id
         WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > p_after AND l.ended IS NOT NULL
           AND l.kind IN ('LATE_CHARGE', 'REFUND')
           AND (coalesce(b.ended, '') NOT IN ('recovered', 'expired') OR l.id <> late_id(b.id));

    RETURN QUERY
        SELECT 5, l.id, format('cost %s: charged %s, overage %s, waived %s, numerator %s, lines %s', cost_ucr(l),
                               charged_ucr(l), l.overage_ucr, l.waived_ucr, l.numerator, l.lines)
          FROM ledger l LEFT JOIN ledger b ON b.org_id = l.org_id AND b.id = l.ref_id AND l.kind IN ('LATE_CHARGE', 'REFUND')
         WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > p_after AND l.ended IS NOT NULL
           AND NOT coalesce(
                   ceil(l.numerator / 1000000) = coalesce(cost_ucr(b), 0) + CASE l.kind WHEN 'REFUND' THEN -1 ELSE 1 END * cost_ucr(l)
                   AND l.numerator = (SELECT coalesce(sum((line ->> 1)::numeric * (line ->> 2)::numeric), 0)
                                        FROM json_array_elements(l.lines) AS line), false);

    RETURN QUERY SELECT 6, p_account, format('receivable %s, its ledger %s', a.receivable_ucr, p_receivable + v_ledger.receivable)
        WHERE a.receivable_ucr <> p_receivable + v_ledger.receivable;

    RETURN QUERY
        SELECT 7, l.id, format('%s of %s stands against nothing', l.kind, l.amount_ucr)
          FROM ledger l
         WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > p_after AND contra(l) IS NULL;
    RETURN QUERY
        SELECT 7, l.id, format('%s of %s, on the other side %s of %s', l.kind, l.amount_ucr, o.kind, o.amount_ucr)
          FROM ledger l
          LEFT JOIN ledger s ON s.org_id = l.org_id AND s.id = l.ref_id
          LEFT JOIN ledger_closing_row k ON k.org_id = l.org_id AND k.id = l.ref_id
         CROSS JOIN LATERAL (SELECT coalesce(s.kind, k.kind) AS kind, coalesce(s.amount_ucr, k.amount_ucr) AS amount_ucr,
                                    coalesce(s.ref_id, k.ref_id) AS ref_id) AS o
         WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > p_after
           AND l.kind IN ('TRANSFER_OUT', 'TRANSFER_IN')
           AND NOT coalesce(o.ref_id = l.id AND o.amount_ucr = -l.amount_ucr AND o.kind LIKE 'TRANSFER_%' AND o.kind <> l.kind, false);

    RETURN QUERY
        SELECT 8, l.id, format('moved %s, in grants %s', l.amount_ucr, burned_ucr_of(l))
          FROM ledger l
         WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > p_after
           AND l.kind <> 'GRANT'
           AND abs(l.amount_ucr) <> (SELECT coalesce(sum(u), 0) FROM unnest(burned_ucr_of(l)) AS u);
    RETURN QUERY SELECT 8, p_account, format('expired and protected %s, in grants %s', a.expired_ucr, v_spent)
        WHERE a.expired_ucr <> v_spent;
    IF v_full THEN
        RETURN QUERY
            SELECT 8, g.id, format('%s of %s are gone, the ledger burned %s', g.amount_ucr - g.remaining_ucr, g.amount_ucr, b.burned)
              FROM credit_grant g
              LEFT JOIN (SELECT u.grant_id, sum(u.ucr) AS burned
                           FROM (SELECT s.grant_id, s.ucr FROM burned_before(p_org, p_account) AS s
                                  UNION ALL
                                 SELECT s.grant_id, s.ucr
                                   FROM ledger l CROSS JOIN burns_of(l) AS s
                                  WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > p_after) AS u
                          GROUP BY u.grant_id) AS b ON b.grant_id = g.id
             WHERE g.org_id = p_org AND g.account_id = p_account AND g.activated_at IS NOT NULL
               AND g.amount_ucr - g.remaining_ucr <> coalesce(b.burned, 0);
    END IF;

    RETURN QUERY
        SELECT 9, coalesce(c.id, k.id), format('charged %s, refunded %s', coalesce(charged_ucr(c), k.charged_ucr),
                                               r.refunded + coalesce(k.refunded_ucr, 0))
          FROM (SELECT l.ref_id, refunded_ucr(p_org, l.ref_id) AS refunded
                  FROM ledger l
                 WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > p_after AND l.kind = 'REFUND'
                 GROUP BY l.ref_id) AS r
          LEFT JOIN ledger c ON c.org_id = p_org AND c.id = r.ref_id AND c.account_id = p_account
          LEFT JOIN ledger_closing_row k ON k.org_id = p_org AND k.id = r.ref_id AND k.account_id = p_account
         WHERE coalesce(charged_ucr(c), k.charged_ucr, 0) < r.refunded + coalesce(k.refunded_ucr, 0);
    RETURN QUERY
        SELECT 9, l.id, 'void, but its grant is not'
          FROM ledger l LEFT JOIN credit_grant g ON g.org_id = l.org_id AND g.id = l.ref_id
         WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > p_after AND l.kind = 'VOID' AND g.voided_at IS NULL
           AND g.subscription_id IS NULL;  -- a change of plan takes back a part
END
$$;


-- Checks the next p_most accounts after (p_org, p_account) and marks the sound ones, all at one instant. Returns one row
-- per account and breach; an account without any has invariant NULL. The lock comes before that instant, so that a month
-- cannot leave between it and the reading of rows.
CREATE OR REPLACE FUNCTION audit_accounts(p_org uuid, p_account uuid, p_most integer, p_full boolean)
RETURNS TABLE (org_id uuid, account_id uuid, invariant integer, id uuid, detail text)
LANGUAGE sql AS $$
    LOCK TABLE ledger IN ACCESS SHARE MODE;
    WITH page AS MATERIALIZED (
        SELECT a.org_id, a.account_id, a.version, a.balance_ucr, a.receivable_ucr,
               CASE WHEN p_full THEN 0 ELSE coalesce(c.version, 0) END AS checked,
               CASE WHEN p_full THEN 0 ELSE coalesce(c.balance_ucr, 0) END AS checked_balance,
               CASE WHEN p_full THEN 0 ELSE coalesce(c.receivable_ucr, 0) END AS checked_receivable
          FROM account a LEFT JOIN audit_checkpoint c ON c.org_id = a.org_id AND c.account_id = a.account_id
         WHERE (a.org_id, a.account_id) > (p_org, p_account)
         ORDER BY a.org_id, a.account_id
         LIMIT p_most
    ), breach AS MATERIALIZED (
        SELECT p.org_id, p.account_id, v.invariant, v.id, v.detail
          FROM page p
         CROSS JOIN LATERAL violations(p.org_id, p.account_id, p.checked, p.checked_balance, p.checked_receivable) AS v
    ), marked AS (
        INSERT INTO audit_checkpoint AS m (org_id, account_id, version, balance_ucr, receivable_ucr, checked_at)
        SELECT p.org_id, p.account_id, p.version, p.balance_ucr, p.receivable_ucr, clock_timestamp()
          FROM page p
         WHERE NOT EXISTS (SELECT FROM breach b WHERE b.org_id = p.org_id AND b.account_id = p.account_id)
            ON CONFLICT ON CONSTRAINT audit_checkpoint_pkey
            DO UPDATE SET version = EXCLUDED.version, balance_ucr = EXCLUDED.balance_ucr, receivable_ucr = EXCLUDED.receivable_ucr,
                          checked_at = EXCLUDED.checked_at
             WHERE m.version < EXCLUDED.version
    )
    SELECT p.org_id, p.account_id, b.invariant, b.id, b.detail
      FROM page p LEFT JOIN breach b ON b.org_id = p.org_id AND b.account_id = p.account_id
     ORDER BY p.org_id, p.account_id, b.invariant, b.id
$$;
