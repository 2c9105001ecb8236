-- Credits that go from one account of an organisation to another.

-- Moves what is available from one locked account to another. Each grant that it burns becomes one there, with the same
-- priority, category and end. Two rows, each referring to the other; p_id is the row that leaves.
CREATE OR REPLACE FUNCTION move_credits(INOUT source account, INOUT target account, p_id uuid, p_ucr bigint, p_actor text, p_note text,
                             p_now timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    v_arrival uuid := new_ledger_id(p_now);
    v_made    uuid[];
    b         record;
    g         credit_grant;
BEGIN
    b := burn(source, p_ucr, NULL);
    source.balance_ucr := source.balance_ucr - p_ucr;
    source.version := source.version + 1;
    INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, ref_id, actor, note,
                        created_at, burned_grants, burned_ucr)
    VALUES (source.org_id, p_id, source.account_id, source.version, 'TRANSFER_OUT', -p_ucr, source.balance_ucr,
            v_arrival, p_actor, p_note, p_now, b.grants, b.burned_ucr);
    FOR i IN 1 .. cardinality(b.grants) LOOP
        SELECT * INTO STRICT g FROM credit_grant WHERE org_id = source.org_id AND id = b.grants[i];
        g.source_id := g.id;
        g.id := new_ledger_id(p_now);
        g.account_id := target.account_id;
        g.kind := 'transfer_in';
        g.amount_ucr := b.burned_ucr[i];
        g.remaining_ucr := b.burned_ucr[i];
        g.activated_at := p_now;
        g.created_at := p_now;
        g.actor := p_actor;
        g.description := p_note;
        -- What recurs and what was paid for stays with the grant that it was made from.
        g.period_start := NULL;
        g.rollover_min_ucr := 0;
        g.rollover_max_ucr := 0;
        g.paid_minor := NULL;
        g.paid_currency := NULL;
        PERFORM insert_grant(g);
        v_made := v_made || g.id;
        target.next_change_at := least(target.next_change_at, g.expires_at);
    END LOOP;
    target.balance_ucr := target.balance_ucr + p_ucr;
    target.version := target.version + 1;
    INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, ref_id, actor, note,
                        created_at, burned_grants, burned_ucr)
    VALUES (target.org_id, v_arrival, target.account_id, target.version, 'TRANSFER_IN', p_ucr, target.balance_ucr,
            p_id, p_actor, p_note, p_now, v_made, b.burned_ucr);
    target := repay(target, p_now, v_arrival);
END
$$;


-- Once per id. Refused: no_account · closed · parked · restricted (such an account only receives) · off_clock ·
-- insufficient.
CREATE OR REPLACE FUNCTION transfer(p_org uuid, p_from uuid, p_to uuid, p_id uuid, p_ucr bigint, p_note text, p_by origin,
                         OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now    timestamptz;
    v_before ledger;
    v_moved  record;
    source   account;
    target   account;
BEGIN
    PERFORM FROM account WHERE org_id = p_org AND account_id IN (p_from, p_to) ORDER BY account_id FOR NO KEY UPDATE;
    source := lock_account(p_org, p_from);
    target := lock_account(p_org, p_to);
    v_now := clock_timestamp();
    SELECT * INTO v_before FROM ledger WHERE org_id = p_org AND id = p_id;
    status := CASE
        WHEN source.account_id IS NULL OR target.account_id IS NULL THEN 'no_account'
        WHEN v_before.kind = 'TRANSFER_OUT' AND v_before.account_id = p_from AND v_before.amount_ucr = -p_ucr
            AND p_to = (SELECT l.account_id FROM ledger l WHERE l.org_id = p_org AND l.id = v_before.ref_id) THEN 'exists'
        WHEN v_before.id IS NOT NULL THEN 'conflict'
        WHEN source.status = 'closed' OR target.status = 'closed' THEN 'closed'
        WHEN source.parked_at IS NOT NULL OR target.parked_at IS NOT NULL THEN 'parked'
        WHEN source.kind = 'restricted' THEN 'restricted'
        WHEN is_off_clock(p_id, v_now) THEN 'off_clock'
        WHEN p_ucr > source.balance_ucr - source.held_ucr THEN 'insufficient'
        ELSE 'ok' END;
    IF status NOT IN ('ok', 'exists') THEN
        answer := standing(source);
        RETURN;
    END IF;
    IF status = 'ok' THEN
        v_moved := move_credits(source, target, p_id, p_ucr, p_by.actor, p_note, v_now);
        source := v_moved.source;
        target := v_moved.target;
        PERFORM save_account(source);
        PERFORM save_account(target);
        PERFORM write_audit_log(p_org, p_by, 'credits.transferred', 'account', p_from,
                                jsonb_build_object('balance_ucr', source.balance_ucr + p_ucr),
                                jsonb_build_object('balance_ucr', source.balance_ucr, 'to', p_to, 'row_id', p_id));
    END IF;
    answer := jsonb_build_object('id', p_id, 'amount_ucr', p_ucr, 'source', standing(source), 'target', standing(target),
                                 'created_at', coalesce(v_before.created_at, v_now));
END
$$;
