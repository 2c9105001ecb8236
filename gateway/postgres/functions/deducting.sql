-- Charging for something that has a price of its own: a reservation and its settlement in one statement, so that budgets,
-- blocking and receivables are those of every call.

-- What was used, once per id, paid by the first of p_accounts that can. Refused: what reserve_batch refuses, with what is
-- available.
CREATE OR REPLACE FUNCTION deduct(p_org uuid, p_id uuid, p_accounts uuid[], p_used used_item, p_user uuid, p_key_id uuid,
                       p_receivable_max bigint, p_by origin, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_wishes wish_item[];
    v_answer hold_answer;
    v_payer  uuid;
    c        ledger;
    a        account;
BEGIN
    v_wishes := ARRAY[plain_wish(p_id, p_accounts, p_used.cost_ucr, p_user, p_key_id, p_used.model, p_used.feature, clock_timestamp())];
    v_answer := (run_batch(p_org, 'api', p_org, 0, '{}', '{}', v_wishes)).wishes[1];
    status := v_answer.status;
    v_payer := v_answer.account_id;
    IF status = 'ok' THEN
        PERFORM run_batch(p_org, NULL, NULL, p_receivable_max,
                          ARRAY[plain_ending(p_id, v_payer, 'ok', p_used, false, p_user, p_key_id, '', '')], '{}', '{}');
    ELSIF status IN ('exists', 'ended') THEN
        SELECT * INTO c FROM ledger l WHERE l.org_id = p_org AND l.id = p_id AND l.account_id = ANY (p_accounts);
        v_payer := c.account_id;
        status := CASE WHEN cost_ucr(c) = p_used.cost_ucr AND c.lines::jsonb = p_used.lines::jsonb THEN 'exists' ELSE 'conflict' END;
    END IF;
    SELECT * INTO a FROM account x WHERE x.org_id = p_org AND x.account_id = v_payer;
    answer := standing(a);
    IF status NOT IN ('ok', 'exists') THEN
        IF v_answer.budget_scope IS NOT NULL THEN
            answer := answer || jsonb_build_object('available_ucr', v_answer.available_ucr, 'budget_scope', v_answer.budget_scope,
                                                   'resets_at', v_answer.resets_at);
        END IF;
        RETURN;
    END IF;
    SELECT * INTO c FROM ledger l WHERE l.org_id = p_org AND l.id = p_id;
    IF status = 'ok' THEN
        PERFORM write_audit_log(p_org, p_by, 'credits.deducted', 'account', v_payer, NULL,
                                jsonb_build_object('row_id', p_id, 'for', coalesce(nullif(p_used.feature, ''), p_used.model),
                                                   'lines', p_used.lines::jsonb, 'amount_ucr', p_used.cost_ucr));
    END IF;
    answer := answer || jsonb_build_object('id', p_id, 'account_id', v_payer, 'amount_ucr', charged_ucr(c), 'created_at', c.created_at);
END
$$;
