-- Giving back what was charged, by reference to the charge.

-- What was already given back of a charge, by hand or by the real cost of a swept call.
CREATE OR REPLACE FUNCTION refunded_ucr(p_org uuid, p_charge uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(amount_ucr), 0)::bigint FROM ledger WHERE org_id = p_org AND ref_id = p_charge AND kind = 'REFUND'
$$;


-- What a charge burned and no refund returned yet, in the order of burning.
CREATE OR REPLACE FUNCTION still_burned(c ledger, OUT grants uuid[], OUT burned_ucr bigint[]) LANGUAGE sql STABLE AS $$
    SELECT array_agg(b.grant_id ORDER BY b.n), array_agg(b.ucr - coalesce(r.ucr, 0) ORDER BY b.n)
      FROM unnest(burned_grants_of(c), burned_ucr_of(c)) WITH ORDINALITY AS b (grant_id, ucr, n)
      LEFT JOIN (SELECT u.grant_id, sum(u.ucr)::bigint AS ucr
                   FROM ledger l CROSS JOIN unnest(burned_grants_of(l), burned_ucr_of(l)) AS u (grant_id, ucr)
                  WHERE l.org_id = c.org_id AND l.ref_id = c.id AND l.kind = 'REFUND'
                  GROUP BY u.grant_id) AS r ON r.grant_id = b.grant_id
     WHERE b.ucr > coalesce(r.ucr, 0)
$$;


-- Returns p_ucr of a charge (NULL: all that is left of it) to the grants that it burned. Once per id. Refused: no_charge ·
-- archived (its month has left, or is about to) · closed · provisional (the call was swept, and its real cost may still
-- correct the charge) · off_clock · too_much (with what is left).
CREATE OR REPLACE FUNCTION refund_charge(p_org uuid, p_charge uuid, p_id uuid, p_ucr bigint, p_reason text, p_note text, p_by origin,
                              OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now    timestamptz;
    v_left   bigint;
    v_before ledger;
    v_back   record;
    b        record;
    c        ledger;
    a        account;
BEGIN
    SELECT * INTO c FROM ledger WHERE org_id = p_org AND id = p_charge AND kind IN ('CHARGE', 'LATE_CHARGE');
    SELECT * INTO v_before FROM ledger WHERE org_id = p_org AND id = p_id;
    a := lock_account(p_org, coalesce(c.account_id, v_before.account_id));
    v_now := clock_timestamp();
    v_left := coalesce(charged_ucr(c) - refunded_ucr(p_org, p_charge), 0);
    SELECT * INTO v_before FROM ledger WHERE org_id = p_org AND id = p_id;
    status := CASE
        WHEN v_before.kind = 'REFUND' AND v_before.ref_id = p_charge AND v_before.ended IS NULL
            AND v_before.amount_ucr = coalesce(p_ucr, v_before.amount_ucr) THEN 'exists'
        WHEN month_is_closed(p_charge) THEN 'archived'
        WHEN c.id IS NULL THEN 'no_charge'
        WHEN v_before.id IS NOT NULL THEN 'conflict'
        WHEN a.status = 'closed' THEN 'closed'
        WHEN c.kind = 'CHARGE' AND c.ended IN ('recovered', 'expired') AND c.created_at > v_now - interval '24 hours'
            AND NOT EXISTS (SELECT FROM ledger l WHERE l.org_id = p_org AND l.id = late_id(p_charge)) THEN 'provisional'
        WHEN is_off_clock(p_id, v_now) THEN 'off_clock'
        WHEN v_left = 0 OR p_ucr > v_left THEN 'too_much'
        ELSE 'ok' END;
    IF status NOT IN ('ok', 'exists') THEN
        answer := jsonb_build_object('refundable_ucr', v_left);
        RETURN;
    END IF;
    IF status = 'ok' THEN
        v_before.amount_ucr := coalesce(p_ucr, v_left);
        v_before.created_at := v_now;
        a.balance_ucr := a.balance_ucr + v_before.amount_ucr;
        a.used_ucr := a.used_ucr - v_before.amount_ucr;
        a.version := a.version + 1;
        v_before.version := a.version;
        v_before.balance_after_ucr := a.balance_ucr;
        b := still_burned(c);
        v_back := unburn(a, b.grants, b.burned_ucr, v_before.amount_ucr, v_now);
        INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, transaction_type, reason, ref_id,
                            actor, note, created_at, user_id, key_id, model, feature, burned_grants, burned_ucr)
        VALUES (p_org, p_id, c.account_id, v_before.version, 'REFUND', v_before.amount_ucr, v_before.balance_after_ucr, 'REFUND',
                p_reason, p_charge, p_by.actor, p_note, v_now, c.user_id, c.key_id, c.model, c.feature, v_back.grants,
                v_back.returned_ucr);
        a := repay(v_back.a, v_now, p_id);
        PERFORM save_account(a);
        v_left := v_left - v_before.amount_ucr;
        PERFORM write_audit_log(p_org, p_by, 'credits.refunded', 'charge', p_charge,
                                jsonb_build_object('refundable_ucr', v_left + v_before.amount_ucr),
                                jsonb_build_object('refundable_ucr', v_left, 'row_id', p_id));
    END IF;
    answer := standing(a) || jsonb_build_object('id', p_id, 'account_id', a.account_id, 'amount_ucr', v_before.amount_ucr,
                                                'refundable_ucr', v_left, 'created_at', v_before.created_at);
END
$$;
