-- Charging for something that has a price of its own: a reservation and its settlement in one statement, so that budgets,
-- blocking and receivables are those of every call.

-- p_quantity of p_line at p_price_ucr each, once per id. Refused: what reserve_batch refuses, with what is available.
CREATE OR REPLACE FUNCTION deduct(p_org uuid, p_account uuid, p_id uuid, p_line text, p_price_ucr bigint, p_quantity bigint, p_user uuid,
                       p_key_id uuid, p_receivable_max bigint, p_by origin, p_key text, p_request_hash bytea, OUT status text,
                       OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_cost   bigint := p_price_ucr * p_quantity;
    v_wishes wish_item[];
    v_answer hold_answer;
    c        ledger;
    a        account;
BEGIN
    SELECT * INTO status, answer FROM claim_key(p_org, p_key, p_request_hash);
    IF status IS NOT NULL THEN
        RETURN;
    END IF;
    a := lock_account(p_org, p_account);
    v_wishes := ARRAY[plain_wish(p_id, p_account, v_cost, p_user, p_key_id, '', p_line, clock_timestamp())];
    v_answer := (reserve_batch(p_org, 'api', p_org, lock_for_batch(p_org, '{}', '{}', v_wishes), v_wishes))[1];
    status := v_answer.status;
    IF status = 'ok' THEN
        PERFORM settle_batch(p_org, p_receivable_max, ARRAY[plain_ending(p_id, p_account, 'ok', p_line, p_quantity, p_price_ucr, false,
                                                                         p_user, p_key_id, '')]);
    ELSIF status IN ('exists', 'ended') THEN
        SELECT * INTO c FROM ledger l WHERE l.org_id = p_org AND l.id = p_id AND l.account_id = p_account;
        status := CASE WHEN cost_ucr(c) = v_cost AND c.lines -> 0 ->> 0 = p_line AND (c.lines -> 0 ->> 1)::bigint = p_quantity
                       THEN 'exists' ELSE 'conflict' END;
    END IF;
    SELECT * INTO a FROM account x WHERE x.org_id = p_org AND x.account_id = p_account;
    answer := standing(a);
    IF status NOT IN ('ok', 'exists') THEN
        IF v_answer.budget_scope IS NOT NULL THEN
            answer := answer || jsonb_build_object('available_ucr', v_answer.available_ucr, 'budget_scope', v_answer.budget_scope,
                                                   'resets_at', v_answer.resets_at);
        END IF;
        PERFORM keep_answer(p_org, p_key, NULL);
        RETURN;
    END IF;
    SELECT * INTO c FROM ledger l WHERE l.org_id = p_org AND l.id = p_id;
    IF status = 'ok' THEN
        PERFORM write_audit_log(p_org, p_by, 'credits.deducted', 'account', p_account, NULL,
                                jsonb_build_object('row_id', p_id, 'for', p_line, 'quantity', p_quantity, 'amount_ucr', v_cost));
    END IF;
    answer := answer || jsonb_build_object('id', p_id, 'amount_ucr', charged_ucr(c), 'created_at', c.created_at);
    PERFORM keep_answer(p_org, p_key, answer);
END
$$;
