-- Credits coming in.

-- One grant, once per id and once per idempotency key (NULL: none). A grant of the future enters the balance when it
-- becomes effective. Statuses: ok · exists (this id or key did it before; the first answer again) · mismatch (the key came
-- with another body) · no_account · expired.
CREATE OR REPLACE FUNCTION add_grant(p_org uuid, p_account uuid, p_id uuid, p_kind text, p_category text, p_priority smallint, p_amount bigint,
                          p_effective_at timestamptz, p_expires_at timestamptz, p_transaction_type text, p_reason text,
                          p_description text, p_actor text, p_key text, p_request_hash bytea, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now   timestamptz;
    v_known idempotency_key;
    g       credit_grant;
    a       account;
BEGIN
    IF p_key IS NOT NULL THEN
        DELETE FROM idempotency_key
         WHERE org_id = p_org AND key = p_key AND created_at <= clock_timestamp() - interval '24 hours';
        INSERT INTO idempotency_key (org_id, key, request_hash) VALUES (p_org, p_key, p_request_hash) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT * INTO STRICT v_known FROM idempotency_key k WHERE k.org_id = p_org AND k.key = p_key;
            status := CASE WHEN v_known.request_hash = p_request_hash THEN 'exists' ELSE 'mismatch' END;
            answer := CASE WHEN status = 'exists' THEN v_known.answer END;
            RETURN;
        END IF;
    END IF;
    SELECT * INTO a FROM account WHERE org_id = p_org AND account_id = p_account FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    status := CASE WHEN a.account_id IS NULL THEN 'no_account' WHEN p_expires_at <= v_now THEN 'expired' ELSE 'ok' END;
    IF status <> 'ok' THEN
        DELETE FROM idempotency_key WHERE org_id = p_org AND key = p_key;
        RETURN;
    END IF;
    SELECT * INTO g FROM credit_grant WHERE org_id = p_org AND id = p_id;
    IF FOUND THEN
        status := 'exists';
    ELSE
        -- First what was due before: the new grant pays nothing that the older ones owe.
        IF a.next_change_at <= v_now THEN
            a := bring_up_to(a, v_now);
        END IF;
        g.effective_at := coalesce(p_effective_at, v_now);
        g.activated_at := CASE WHEN g.effective_at <= v_now THEN v_now END;
        INSERT INTO credit_grant (org_id, id, account_id, kind, category, priority, amount_ucr, remaining_ucr, effective_at,
                                  expires_at, activated_at, transaction_type, reason, description, actor, created_at)
        VALUES (p_org, p_id, p_account, p_kind, p_category, p_priority, p_amount,
                CASE WHEN g.activated_at IS NULL THEN 0 ELSE p_amount END, g.effective_at, p_expires_at, g.activated_at,
                p_transaction_type, p_reason, p_description, p_actor, v_now);
        IF g.activated_at IS NULL THEN
            a.next_change_at := least(a.next_change_at, g.effective_at);
        ELSE
            a.next_change_at := least(a.next_change_at, p_expires_at);
            a.balance_ucr := a.balance_ucr + p_amount;
            a.granted_ucr := a.granted_ucr + p_amount;
            a.version := a.version + 1;
            INSERT INTO ledger (org_id, id, account_id, version, kind, contra, amount_ucr, balance_after_ucr, transaction_type,
                                reason, ref_id, actor, note, created_at)
            VALUES (p_org, p_id, p_account, a.version, 'GRANT', 'grant_source', p_amount, a.balance_ucr, p_transaction_type,
                    p_reason, p_id, p_actor, p_description, v_now);
            a := repay(a, v_now, p_id);
        END IF;
        PERFORM save_account(a);
    END IF;
    answer := jsonb_build_object('id', p_id, 'amount_ucr', p_amount, 'balance_ucr', a.balance_ucr, 'held_ucr', a.held_ucr,
                                 'receivable_ucr', a.receivable_ucr, 'effective_at', g.effective_at, 'expires_at', p_expires_at,
                                 'created_at', coalesce(g.created_at, v_now));
    UPDATE idempotency_key k SET answer = add_grant.answer WHERE k.org_id = p_org AND k.key = p_key;
END
$$;
