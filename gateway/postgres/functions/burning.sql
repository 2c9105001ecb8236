-- Taking credits from an account's grants, in order, and giving them back.

-- The grant that burns first, so that a batch need not ask for every charge; none while expired ones are protected,
-- because then it depends on the reservation which is the first.
CREATE OR REPLACE FUNCTION first_grant(a account) RETURNS credit_grant LANGUAGE plpgsql AS $$
DECLARE
    g credit_grant;
BEGIN
    IF a.expired_ucr = 0 THEN
        SELECT * INTO g FROM credit_grant
         WHERE org_id = a.org_id AND account_id = a.account_id AND live AND remaining_ucr > 0
         ORDER BY priority, expires_at NULLS LAST, (category = 'paid'), effective_at, id
         LIMIT 1;
    END IF;
    RETURN g;
END
$$;


-- Takes p_ucr from the account's grants in burn order. A grant past its end (expired or voided) is there only for
-- reservations older than the end, so for them it comes first and for others it does not exist; p_made_at NULL is such an
-- other.
-- Of those, the one that ended first goes first, whatever its priority: fewer calls may burn it than any that ended later.
CREATE OR REPLACE FUNCTION burn(a account, p_ucr bigint, p_made_at timestamptz, OUT grants uuid[], OUT burned_ucr bigint[], OUT expired_ucr bigint)
LANGUAGE plpgsql AS $$
DECLARE
    g      credit_grant;
    v_left bigint := p_ucr;
    v_take bigint;
BEGIN
    expired_ucr := 0;
    FOR g IN
        SELECT * FROM credit_grant
         WHERE org_id = a.org_id AND account_id = a.account_id AND live AND remaining_ucr > 0
           AND (expired_at IS NULL OR least(expires_at, voided_at) > p_made_at)
         ORDER BY (expired_at IS NOT NULL) DESC, CASE WHEN expired_at IS NOT NULL THEN least(expires_at, voided_at) END, priority,
                  expires_at NULLS LAST, (category = 'paid'), effective_at, id
    LOOP
        EXIT WHEN v_left = 0;
        v_take := least(v_left, g.remaining_ucr);
        UPDATE credit_grant SET remaining_ucr = remaining_ucr - v_take WHERE org_id = g.org_id AND id = g.id;
        v_left := v_left - v_take;
        grants := grants || g.id;
        burned_ucr := burned_ucr || v_take;
        IF g.expired_at IS NOT NULL THEN
            expired_ucr := expired_ucr + v_take;
        END IF;
    END LOOP;
    IF v_left > 0 THEN
        -- The books were broken before (invariant 1); the audit says so, and settling goes on.
        RAISE WARNING 'account % of org %: its grants are short of % ucr', a.account_id, a.org_id, v_left;
    END IF;
END
$$;


-- What a refund returns goes back to where it was burned, last burned first. A grant that ended since lets it pass
-- through: it returns and leaves at once, as an expiry or as void.
CREATE OR REPLACE FUNCTION unburn(INOUT a account, p_grants uuid[], p_burned_ucr bigint[], p_ucr bigint, p_now timestamptz,
                       OUT grants uuid[], OUT returned_ucr bigint[])
LANGUAGE plpgsql AS $$
DECLARE
    g      credit_grant;
    v_left bigint := p_ucr;
    v_back bigint;
BEGIN
    FOR i IN REVERSE coalesce(cardinality(p_grants), 0) .. 1 LOOP
        EXIT WHEN v_left = 0;
        v_back := least(v_left, p_burned_ucr[i]);
        v_left := v_left - v_back;
        grants := grants || p_grants[i];
        returned_ucr := returned_ucr || v_back;
        SELECT * INTO STRICT g FROM credit_grant WHERE org_id = a.org_id AND id = p_grants[i];
        IF least(g.expires_at, g.voided_at) <= p_now THEN
            a := take_expired(a, g, v_back, p_now);
        ELSE
            UPDATE credit_grant SET remaining_ucr = remaining_ucr + v_back WHERE org_id = a.org_id AND id = g.id;
            a.next_change_at := least(a.next_change_at, g.expires_at);
        END IF;
    END LOOP;
END
$$;


-- Every credit repays what the account owes before it can be spent.
CREATE OR REPLACE FUNCTION repay(a account, p_now timestamptz, p_ref uuid) RETURNS account LANGUAGE plpgsql AS $$
DECLARE
    v_ucr  bigint := least(a.receivable_ucr, a.balance_ucr - a.held_ucr);
    b      record;
BEGIN
    IF v_ucr > 0 THEN
        b := burn(a, v_ucr, NULL);
        a.receivable_ucr := a.receivable_ucr - v_ucr;
        a.balance_ucr := a.balance_ucr - v_ucr;
        a.version := a.version + 1;
        INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, ref_id,
                            created_at, burned_grants, burned_ucr)
        VALUES (a.org_id, new_ledger_id(p_now), a.account_id, a.version, 'REPAYMENT', -v_ucr, a.balance_ucr,
                p_ref, p_now, b.grants, b.burned_ucr);
    END IF;
    RETURN a;
END
$$;
