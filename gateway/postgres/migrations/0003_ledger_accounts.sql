-- What happens to one account, already locked and held in a variable: the functions here take the account's row, do
-- their part in grants and ledger, and give the changed row back; the caller writes it once, with save_account.

CREATE FUNCTION first_id_at(p_at timestamptz) RETURNS uuid
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    RETURN (lpad(to_hex((extract(epoch FROM p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- A uuid of version 7 for rows that the ledger itself decides on (expiry, repayment, activation).
CREATE FUNCTION new_ledger_id(p_at timestamptz) RETURNS uuid
    LANGUAGE sql VOLATILE STRICT
    RETURN overlay(overlay(gen_random_uuid()::text PLACING left(first_id_at(p_at)::text, 13) FROM 1) PLACING '7' FROM 15)::uuid;

-- The one id that a late correction of this call can have: same time bits, so the same partition, and only once.
CREATE FUNCTION late_id(p_id uuid) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN overlay(md5(p_id::text || 'late')::uuid::text PLACING left(p_id::text, 15) FROM 1)::uuid;


CREATE FUNCTION save_account(a account) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE account
       SET balance_ucr = a.balance_ucr, held_ucr = a.held_ucr, open_count = a.open_count,
           receivable_ucr = a.receivable_ucr, expired_ucr = a.expired_ucr, version = a.version,
           granted_ucr = a.granted_ucr, used_ucr = a.used_ucr, next_change_at = a.next_change_at
     WHERE org_id = a.org_id AND account_id = a.account_id;
END
$$;


-- The grant that burns first, so that a batch need not ask for every charge; none while expired ones are protected,
-- because then it depends on the reservation which is the first.
CREATE FUNCTION first_grant(a account) RETURNS credit_grant LANGUAGE plpgsql AS $$
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

CREATE FUNCTION save_grant(g credit_grant, p_left bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF g.remaining_ucr <> p_left THEN
        UPDATE credit_grant SET remaining_ucr = p_left WHERE org_id = g.org_id AND id = g.id;
    END IF;
END
$$;


-- Takes p_ucr from the account's grants in burn order. A grant past its expiry is there only for reservations that are
-- older than the expiry, so for them it comes first and for others it does not exist; p_made_at NULL is such an other.
CREATE FUNCTION burn(a account, p_ucr bigint, p_made_at timestamptz, OUT grants uuid[], OUT burned_ucr bigint[], OUT expired_ucr bigint)
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
           AND (expired_at IS NULL OR expires_at > p_made_at)
         ORDER BY (expired_at IS NOT NULL) DESC, priority, expires_at NULLS LAST, (category = 'paid'), effective_at, id
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


-- Every credit repays what the account owes before it can be spent.
CREATE FUNCTION repay(a account, p_now timestamptz, p_ref uuid) RETURNS account LANGUAGE plpgsql AS $$
DECLARE
    v_ucr  bigint := least(a.receivable_ucr, a.balance_ucr - a.held_ucr);
    b      record;
BEGIN
    IF v_ucr > 0 THEN
        b := burn(a, v_ucr, NULL);
        a.receivable_ucr := a.receivable_ucr - v_ucr;
        a.balance_ucr := a.balance_ucr - v_ucr;
        a.version := a.version + 1;
        INSERT INTO ledger (org_id, id, account_id, version, kind, contra, amount_ucr, balance_after_ucr, ref_id,
                            created_at, burned_grants, burned_ucr)
        VALUES (a.org_id, new_ledger_id(p_now), a.account_id, a.version, 'REPAYMENT', 'receivable', -v_ucr, a.balance_ucr,
                p_ref, p_now, b.grants, b.burned_ucr);
    END IF;
    RETURN a;
END
$$;


CREATE FUNCTION take_expired(a account, g credit_grant, p_ucr bigint, p_now timestamptz) RETURNS account LANGUAGE plpgsql AS $$
BEGIN
    a.balance_ucr := a.balance_ucr - p_ucr;
    a.version := a.version + 1;
    INSERT INTO ledger (org_id, id, account_id, version, kind, contra, amount_ucr, balance_after_ucr, ref_id, created_at,
                        burned_grants, burned_ucr)
    VALUES (a.org_id, new_ledger_id(p_now), a.account_id, a.version, 'EXPIRY', 'breakage', -p_ucr, a.balance_ucr, g.id, p_now,
            ARRAY[g.id], ARRAY[p_ucr]);
    RETURN a;
END
$$;


-- Brings the account up to p_now: grants that became effective enter the balance, grants that expired leave it but for
-- what open reservations hold. Called by everything that looks at what is available, when next_change_at has come.
CREATE FUNCTION bring_up_to(a account, p_now timestamptz) RETURNS account LANGUAGE plpgsql AS $$
DECLARE
    g       credit_grant;
    v_leave bigint;
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
        INSERT INTO ledger (org_id, id, account_id, version, kind, contra, amount_ucr, balance_after_ucr, transaction_type,
                            reason, ref_id, actor, note, created_at)
        VALUES (a.org_id, new_ledger_id(p_now), a.account_id, a.version, 'GRANT', 'grant_source', g.amount_ucr, a.balance_ucr,
                g.transaction_type, g.reason, g.id, g.actor, g.description, p_now);
    END LOOP;
    FOR g IN
        SELECT * FROM credit_grant
         WHERE org_id = a.org_id AND account_id = a.account_id AND live AND activated_at IS NOT NULL
           AND expired_at IS NULL AND expires_at <= p_now
         ORDER BY expires_at, id
    LOOP
        v_leave := least(g.remaining_ucr, a.balance_ucr - a.held_ucr);
        UPDATE credit_grant SET remaining_ucr = remaining_ucr - v_leave, expired_at = p_now WHERE org_id = g.org_id AND id = g.id;
        a.expired_ucr := a.expired_ucr + g.remaining_ucr - v_leave;
        IF v_leave > 0 THEN
            a := take_expired(a, g, v_leave, p_now);
        END IF;
    END LOOP;
    SELECT min(CASE WHEN activated_at IS NULL THEN effective_at ELSE expires_at END) INTO a.next_change_at
      FROM credit_grant
     WHERE org_id = a.org_id AND account_id = a.account_id AND live AND expired_at IS NULL;
    RETURN repay(a, p_now, NULL);
END
$$;


-- After a settlement: what an expired grant still has above the open reservations that are older than its expiry leaves.
CREATE FUNCTION trim_expired(a account, p_now timestamptz) RETURNS account LANGUAGE plpgsql AS $$
DECLARE
    g           credit_grant;
    v_protected bigint;
    v_kept      bigint := 0;
    v_leave     bigint;
BEGIN
    FOR g IN
        SELECT * FROM credit_grant
         WHERE org_id = a.org_id AND account_id = a.account_id AND live AND remaining_ucr > 0 AND expired_at IS NOT NULL
         ORDER BY expires_at, id
    LOOP
        SELECT coalesce(sum(amount_ucr), 0) INTO v_protected
          FROM reservation
         WHERE org_id = a.org_id AND account_id = a.account_id AND created_at < g.expires_at;
        v_leave := greatest(g.remaining_ucr - greatest(v_protected - v_kept, 0), 0);
        v_kept := v_kept + g.remaining_ucr - v_leave;
        IF v_leave > 0 THEN
            UPDATE credit_grant SET remaining_ucr = remaining_ucr - v_leave WHERE org_id = g.org_id AND id = g.id;
            a.expired_ucr := a.expired_ucr - v_leave;
            a := take_expired(a, g, v_leave, p_now);
        END IF;
    END LOOP;
    RETURN a;
END
$$;
