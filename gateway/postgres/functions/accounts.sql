-- What happens to one account, already locked and held in a variable: the functions here take the account's row, do
-- their part in grants and ledger, and give the changed row back; the caller writes it once, with save_account.

CREATE OR REPLACE FUNCTION save_account(a account) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE account
       SET balance_ucr = a.balance_ucr, held_ucr = a.held_ucr, open_count = a.open_count,
           receivable_ucr = a.receivable_ucr, expired_ucr = a.expired_ucr, version = a.version,
           granted_ucr = a.granted_ucr, used_ucr = a.used_ucr, next_change_at = a.next_change_at
     WHERE org_id = a.org_id AND account_id = a.account_id;
END
$$;


-- What an account has, for the answer of an operation.
CREATE OR REPLACE FUNCTION standing(a account) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('balance_ucr', a.balance_ucr, 'held_ucr', a.held_ucr, 'available_ucr', a.balance_ucr - a.held_ucr,
                              'receivable_ucr', a.receivable_ucr)
$$;


-- Locks one account and brings it up to now: how every operation beside calls begins, and all that the periodic round
-- does. NULL: there is none.
CREATE OR REPLACE FUNCTION lock_account(p_org uuid, p_account uuid) RETURNS account LANGUAGE plpgsql AS $$
DECLARE
    a     account;
    v_now timestamptz;
BEGIN
    SELECT * INTO a FROM account WHERE org_id = p_org AND account_id = p_account FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    IF a.next_change_at <= v_now THEN
        a := bring_up_to(a, v_now);
        PERFORM save_account(a);
    END IF;
    RETURN a;
END
$$;


-- Why an account admits nothing at all, whatever the amount; NULL when it does.
CREATE OR REPLACE FUNCTION blocked_because(a account) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN a.account_id IS NULL THEN 'no_account'
        WHEN a.status <> 'active' THEN 'suspended'
        WHEN a.parked_at IS NOT NULL THEN 'parked'
        WHEN a.receivable_ucr > 0 AND a.blocks_on_receivable THEN 'receivable'
    END
$$;


-- A grant past its end leaves the balance but for what open reservations hold.
CREATE OR REPLACE FUNCTION expire_grant(a account, g credit_grant, p_now timestamptz) RETURNS account LANGUAGE plpgsql AS $$
DECLARE
    v_leave bigint := least(g.remaining_ucr, a.balance_ucr - a.held_ucr);
BEGIN
    UPDATE credit_grant SET remaining_ucr = remaining_ucr - v_leave, expired_at = p_now WHERE org_id = g.org_id AND id = g.id;
    a.expired_ucr := a.expired_ucr + g.remaining_ucr - v_leave;
    IF v_leave > 0 THEN
        a := take_expired(a, g, v_leave, p_now);
    END IF;
    RETURN a;
END
$$;


-- When the account must be looked at next: a grant begins or ends, or a subscription's period does.
CREATE OR REPLACE FUNCTION next_change_of(p_org uuid, p_account uuid) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least(
        (SELECT min(CASE WHEN activated_at IS NULL THEN effective_at ELSE expires_at END) FROM credit_grant
          WHERE org_id = p_org AND account_id = p_account AND live AND expired_at IS NULL),
        (SELECT period_end FROM subscription WHERE org_id = p_org AND account_id = p_account AND ended_at IS NULL))
$$;


-- Brings the account up to p_now: grants that became effective enter the balance, the periods of its subscription follow
-- each other, grants that expired leave but for what open reservations hold. Called by everything that looks at what is
-- available, when next_change_at has come.
CREATE OR REPLACE FUNCTION bring_up_to(a account, p_now timestamptz) RETURNS account LANGUAGE plpgsql AS $$
DECLARE
    g credit_grant;
BEGIN
    FOR g IN
        SELECT * FROM credit_grant
         WHERE org_id = a.org_id AND account_id = a.account_id AND live AND activated_at IS NULL AND effective_at <= p_now
         ORDER BY effective_at, id
    LOOP
        UPDATE credit_grant SET activated_at = p_now, remaining_ucr = amount_ucr WHERE org_id = g.org_id AND id = g.id;
        a.balance_ucr := a.balance_ucr + g.amount_ucr;
        a.granted_ucr := a.granted_ucr + g.amount_ucr;
        a.version := a.version + 1;
        INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, transaction_type,
                            reason, ref_id, actor, note, created_at)
        VALUES (a.org_id, new_ledger_id(p_now), a.account_id, a.version, 'GRANT', g.amount_ucr, a.balance_ucr,
                g.transaction_type, g.reason, g.id, g.actor, g.description, p_now);
    END LOOP;
    a := renew_until(a, p_now);
    FOR g IN
        SELECT * FROM credit_grant
         WHERE org_id = a.org_id AND account_id = a.account_id AND live AND activated_at IS NOT NULL
           AND expired_at IS NULL AND expires_at <= p_now
         ORDER BY expires_at, id
    LOOP
        a := expire_grant(a, g, p_now);
    END LOOP;
    a.next_change_at := next_change_of(a.org_id, a.account_id);
    RETURN repay(a, p_now, NULL);
END
$$;
