-- What a grant leaves behind at its end: when it expires, or is voided, which is an end of another name.

CREATE OR REPLACE FUNCTION take_expired(a account, g credit_grant, p_ucr bigint, p_now timestamptz) RETURNS account LANGUAGE plpgsql AS $$
BEGIN
    a.balance_ucr := a.balance_ucr - p_ucr;
    a.version := a.version + 1;
    INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, ref_id, created_at,
                        burned_grants, burned_ucr)
    VALUES (a.org_id, new_ledger_id(p_now), a.account_id, a.version, CASE WHEN g.voided_at IS NULL THEN 'EXPIRY' ELSE 'VOID' END,
            -p_ucr, a.balance_ucr, g.id, p_now, ARRAY[g.id], ARRAY[p_ucr]);
    IF g.voided_at IS NULL THEN
        PERFORM tell(a.org_id, 'expiry', a.account_id,
                     jsonb_build_object('grant_id', g.id, 'expired_ucr', p_ucr, 'balance_ucr', a.balance_ucr,
                                        'expires_at', g.expires_at));
    END IF;
    RETURN a;
END
$$;


-- After a settlement: what an ended grant still has above the open reservations that are older than its end leaves.
CREATE OR REPLACE FUNCTION trim_expired(a account, p_now timestamptz) RETURNS account LANGUAGE plpgsql AS $$
DECLARE
    g           credit_grant;
    v_protected bigint;
    v_kept      bigint := 0;
    v_leave     bigint;
BEGIN
    FOR g IN
        SELECT * FROM credit_grant
         WHERE org_id = a.org_id AND account_id = a.account_id AND live AND remaining_ucr > 0 AND expired_at IS NOT NULL
         ORDER BY least(expires_at, voided_at), id
    LOOP
        SELECT coalesce(sum(amount_ucr), 0) INTO v_protected
          FROM reservation
         WHERE org_id = a.org_id AND account_id = a.account_id AND created_at < least(g.expires_at, g.voided_at);
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
