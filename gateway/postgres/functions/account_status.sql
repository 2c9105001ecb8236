-- Whether an account may be used: suspending, resuming, parking, unparking and closing it.

-- Statuses: ok · exists (it is so already) · no_account · closed.
CREATE OR REPLACE FUNCTION set_account_status(p_org uuid, p_account uuid, p_status text, p_by origin, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    a account := lock_account(p_org, p_account);
BEGIN
    status := CASE WHEN a.account_id IS NULL THEN 'no_account'
                   WHEN a.status = 'closed' THEN 'closed'
                   WHEN a.status = p_status THEN 'exists'
                   ELSE 'ok' END;
    IF status = 'ok' THEN
        UPDATE account x SET status = p_status WHERE x.org_id = p_org AND x.account_id = p_account;
        PERFORM write_audit_log(p_org, p_by, CASE p_status WHEN 'active' THEN 'account.resumed' ELSE 'account.suspended' END,
                                'account', p_account, jsonb_build_object('status', a.status), jsonb_build_object('status', p_status));
    END IF;
    answer := standing(a);
END
$$;


-- Parks an account whose books are wrong, unless so many are parked already; says so in outbox and audit log.
CREATE OR REPLACE FUNCTION park_account(p_org uuid, p_account uuid, p_parked_max bigint, p_by origin) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_at timestamptz;
BEGIN
    -- One after another, because each counts what the others have parked.
    PERFORM pg_advisory_xact_lock(hashtext('tollgate.park_account'));
    UPDATE account
       SET parked_at = clock_timestamp()
     WHERE org_id = p_org AND account_id = p_account AND parked_at IS NULL
       AND (SELECT count(*) FROM account WHERE parked_at IS NOT NULL) < p_parked_max
    RETURNING parked_at INTO v_at;
    IF v_at IS NOT NULL THEN
        PERFORM tell(p_org, 'parked', p_account, jsonb_build_object('parked_at', v_at, 'reason', p_by.reason));
        PERFORM write_audit_log(p_org, p_by, 'account.parked', 'account', p_account, NULL, jsonb_build_object('parked_at', v_at));
    END IF;
    RETURN v_at IS NOT NULL;
END
$$;


-- Statuses: ok · exists (it was not parked) · no_account.
CREATE OR REPLACE FUNCTION unpark_account(p_org uuid, p_account uuid, p_by origin, OUT status text, OUT answer jsonb) LANGUAGE plpgsql AS $$
DECLARE
    a account;
BEGIN
    SELECT * INTO a FROM account WHERE org_id = p_org AND account_id = p_account FOR NO KEY UPDATE;
    status := CASE WHEN a.account_id IS NULL THEN 'no_account' WHEN a.parked_at IS NULL THEN 'exists' ELSE 'ok' END;
    IF status = 'ok' THEN
        UPDATE account SET parked_at = NULL WHERE org_id = p_org AND account_id = p_account;
        PERFORM write_audit_log(p_org, p_by, 'account.unparked', 'account', p_account,
                                jsonb_build_object('parked_at', a.parked_at), jsonb_build_object('parked_at', NULL));
    END IF;
    answer := standing(a);
END
$$;


-- Why an account cannot be closed; NULL: it can. p_moves: what it has left goes to the pool.
CREATE OR REPLACE FUNCTION not_closable_because(a account, p_moves boolean, p_forfeit boolean) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN a.parked_at IS NOT NULL THEN 'parked'
        WHEN a.open_count > 0 THEN 'open'
        WHEN a.receivable_ucr > 0 THEN 'owes'
        WHEN NOT p_forfeit AND NOT (p_moves AND a.kind = 'user')
            AND EXISTS (SELECT FROM credit_grant g WHERE g.org_id = a.org_id AND g.account_id = a.account_id AND g.live) THEN 'not_empty'
    END
$$;


-- Closes one empty or forfeited account that is locked, for good.
CREATE OR REPLACE FUNCTION close_account(a account, p_by origin, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_before jsonb := standing(a) || jsonb_build_object('status', a.status);
    v_ended  record;
    g        credit_grant;
BEGIN
    FOR g IN
        SELECT * FROM credit_grant WHERE org_id = a.org_id AND account_id = a.account_id AND live ORDER BY id
    LOOP
        v_ended := end_grant(a, g, p_by.actor, 'account closed', p_now);
        a := v_ended.a;
    END LOOP;
    a.next_change_at := NULL;
    PERFORM save_account(a);
    UPDATE account SET status = 'closed' WHERE org_id = a.org_id AND account_id = a.account_id;
    PERFORM write_audit_log(a.org_id, p_by, 'account.closed', 'account', a.account_id, v_before, jsonb_build_object('status', 'closed'));
END
$$;


-- A subscription ends with its account, and what is left of its period expires: a quota was never the pool's.
CREATE OR REPLACE FUNCTION end_subscription_of(a account, p_now timestamptz) RETURNS account LANGUAGE plpgsql AS $$
DECLARE
    s       subscription;
    v_ended record;
BEGIN
    SELECT * INTO s FROM subscription WHERE org_id = a.org_id AND account_id = a.account_id AND ended_at IS NULL;
    IF FOUND THEN
        v_ended := end_subscription(a, s, p_now);
        a := v_ended.a;
        PERFORM save_subscription(v_ended.s);
    END IF;
    RETURN a;
END
$$;


-- Hands over to the pool all that an account has. Grants of the future have no row yet: they just change hands.
CREATE OR REPLACE FUNCTION empty_into_pool(INOUT a account, INOUT pool account, p_actor text, p_now timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    v_moved record;
BEGIN
    UPDATE credit_grant
       SET account_id = pool.account_id
     WHERE org_id = a.org_id AND account_id = a.account_id AND live AND activated_at IS NULL;
    IF FOUND THEN
        pool.next_change_at := least(pool.next_change_at, a.next_change_at);
    END IF;
    IF a.balance_ucr > 0 THEN
        v_moved := move_credits(a, pool, new_ledger_id(p_now), a.balance_ucr, p_actor, 'account closed', p_now);
        a := v_moved.source;
        pool := v_moved.target;
    END IF;
    PERFORM save_account(a);
    PERFORM save_account(pool);
END
$$;


-- Closes an account of the organisation, or with p_account NULL all of them. What one user's account has left goes back to
-- the pool; what else is left is forfeited if p_forfeit says so. Statuses: ok · exists (closed before) · no_account ·
-- parked · open · owes · not_empty; where it is refused, every account is as it was.
CREATE OR REPLACE FUNCTION close_accounts(p_org uuid, p_account uuid, p_forfeit boolean, p_by origin,
                               OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now    timestamptz;
    v_ids    uuid[];
    v_moves  boolean;
    v_closed uuid[] := '{}';
    v_id     uuid;
    v_empty  record;
    pool     account;
    a        account;
BEGIN
    v_ids := ARRAY(SELECT account_id FROM account x
                    WHERE x.org_id = p_org AND (p_account IS NULL OR x.account_id = p_account OR x.kind = 'pool')
                    ORDER BY account_id FOR NO KEY UPDATE);
    FOREACH v_id IN ARRAY v_ids LOOP
        PERFORM lock_account(p_org, v_id);
    END LOOP;
    v_now := clock_timestamp();
    SELECT * INTO pool FROM account x WHERE x.org_id = p_org AND x.kind = 'pool' AND x.status <> 'closed' AND x.parked_at IS NULL;
    v_moves := p_account IS NOT NULL AND pool.account_id IS NOT NULL;
    v_ids := CASE WHEN p_account IS NULL THEN v_ids ELSE ARRAY[p_account] END;
    SELECT CASE WHEN count(*) = 0 THEN 'no_account'
                WHEN bool_and(x.status = 'closed') THEN 'exists'
                ELSE coalesce(min(not_closable_because(x, v_moves, p_forfeit)) FILTER (WHERE x.status <> 'closed'), 'ok') END
      INTO status
      FROM account x
     WHERE x.org_id = p_org AND x.account_id = ANY (v_ids);
    IF status NOT IN ('ok', 'exists') THEN
        RETURN;
    END IF;
    FOR a IN
        SELECT * FROM account x
         WHERE x.org_id = p_org AND x.account_id = ANY (v_ids) AND x.status <> 'closed'
         ORDER BY x.account_id
    LOOP
        a := end_subscription_of(a, v_now);
        IF v_moves AND a.kind = 'user' THEN
            v_empty := empty_into_pool(a, pool, p_by.actor, v_now);
            a := v_empty.a;
        END IF;
        PERFORM close_account(a, p_by, v_now);
        v_closed := v_closed || a.account_id;
    END LOOP;
    answer := jsonb_build_object('closed', v_closed);
END
$$;
