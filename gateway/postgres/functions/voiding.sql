-- Taking a grant back.

-- Voids a grant of a locked account: an end like an expiry. What open reservations hold stays burnable by them alone and
-- leaves as those end, also as VOID. One of the future begins and ends in the same moment, so that its books are closed.
CREATE OR REPLACE FUNCTION end_grant(INOUT a account, g credit_grant, p_actor text, p_note text, p_now timestamptz, OUT taken_ucr bigint)
LANGUAGE plpgsql AS $$
BEGIN
    IF g.activated_at IS NULL THEN
        g.remaining_ucr := g.amount_ucr;
        a.balance_ucr := a.balance_ucr + g.amount_ucr;
        a.version := a.version + 1;
        INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, transaction_type, reason,
                            ref_id, actor, note, created_at)
        VALUES (a.org_id, new_ledger_id(p_now), a.account_id, a.version, 'GRANT', g.amount_ucr, a.balance_ucr,
                g.transaction_type, g.reason, g.id, p_actor, p_note, p_now);
    END IF;
    taken_ucr := CASE WHEN g.expired_at IS NULL THEN least(g.remaining_ucr, a.balance_ucr - a.held_ucr) ELSE 0 END;
    UPDATE credit_grant
       SET remaining_ucr = g.remaining_ucr - taken_ucr, voided_at = p_now, activated_at = coalesce(activated_at, p_now),
           expired_at = coalesce(expired_at, p_now)
     WHERE org_id = g.org_id AND id = g.id;
    IF g.expired_at IS NULL THEN
        a.expired_ucr := a.expired_ucr + g.remaining_ucr - taken_ucr;
    END IF;
    g.voided_at := p_now;
    IF taken_ucr > 0 THEN
        a := take_expired(a, g, taken_ucr, p_now);
    END IF;
END
$$;


-- Once per grant. Refused: no_grant.
CREATE OR REPLACE FUNCTION void_grant(p_org uuid, p_grant uuid, p_note text, p_by origin,
                           OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now   timestamptz;
    v_taken bigint := 0;
    v_ended record;
    a       account;
    g       credit_grant;
BEGIN
    a := lock_account(p_org, (SELECT account_id FROM credit_grant WHERE org_id = p_org AND id = p_grant));
    v_now := clock_timestamp();
    SELECT * INTO g FROM credit_grant WHERE org_id = p_org AND id = p_grant AND account_id = a.account_id;
    IF g.id IS NULL THEN
        status := 'no_grant';
        RETURN;
    END IF;
    status := CASE WHEN g.voided_at IS NULL THEN 'ok' ELSE 'exists' END;
    IF status = 'ok' THEN
        v_ended := end_grant(a, g, p_by.actor, p_note, v_now);
        a := v_ended.a;
        v_taken := v_ended.taken_ucr;
        PERFORM save_account(a);
        PERFORM write_audit_log(p_org, p_by, 'grant.voided', 'grant', p_grant,
                                jsonb_build_object('remaining_ucr', CASE WHEN g.activated_at IS NULL THEN g.amount_ucr ELSE g.remaining_ucr END),
                                jsonb_build_object('remaining_ucr', g.remaining_ucr - v_taken, 'voided_at', v_now));
    END IF;
    SELECT * INTO g FROM credit_grant WHERE org_id = p_org AND id = p_grant;
    answer := standing(a) || jsonb_build_object('id', p_grant, 'taken_ucr', v_taken, 'protected_ucr', g.remaining_ucr,
                                                'voided_at', g.voided_at);
END
$$;
