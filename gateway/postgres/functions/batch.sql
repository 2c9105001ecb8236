-- One statement for whatever an organisation has waiting.

-- Settlements first: they free credits. Then extensions, because those calls are under way. Then new reservations.
-- Lock order, here and everywhere: fence, idempotency key, accounts by id, budgets by id, reservations, grants. Whoever
-- finds a lock taken for a second goes back into line, so that one organisation's trouble does not keep a lane from the
-- others.
CREATE OR REPLACE FUNCTION post_batch(p_org uuid, p_instance uuid, p_receivable_max bigint, p_settlements settlement_item[],
                                      p_extensions extension_item[], p_wishes wish_item[],
                                      OUT settlements settlement_answer[], OUT extensions hold_answer[], OUT wishes hold_answer[])
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET lock_timeout = '1s' AS $$
DECLARE
    c_fenced  CONSTANT hold_answer := ROW('fenced', 0, 0, 0, NULL, NULL, NULL);
    v_periods integer[];
BEGIN
    IF cardinality(p_extensions) + cardinality(p_wishes) > 0 THEN
        PERFORM FROM fence WHERE instance_id = p_instance AND fenced_at IS NULL FOR SHARE;
        IF NOT FOUND THEN
            extensions := array_fill(c_fenced, ARRAY[cardinality(p_extensions)]);
            wishes := array_fill(c_fenced, ARRAY[cardinality(p_wishes)]);
            p_extensions := '{}';
            p_wishes := '{}';
        END IF;
    END IF;
    v_periods := lock_for_batch(p_org, p_settlements, p_extensions, p_wishes);
    IF cardinality(p_settlements) > 0 THEN
        settlements := settle_batch(p_org, p_receivable_max, p_settlements);
    END IF;
    IF cardinality(p_extensions) > 0 THEN
        extensions := extend_batch(p_org, p_extensions);
    END IF;
    IF cardinality(p_wishes) > 0 THEN
        wishes := reserve_batch(p_org, NULL, p_instance, v_periods, p_wishes);
    END IF;
END
$$;


-- Everything that the steps of a batch will touch, at once and in order: each step locking its own would not be in order.
-- Returns the budget periods that the wishes fall under.
CREATE OR REPLACE FUNCTION lock_for_batch(p_org uuid, p_settlements settlement_item[], p_extensions extension_item[],
                                          p_wishes wish_item[]) RETURNS integer[]
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    PERFORM FROM account
      WHERE org_id = p_org
        AND account_id = ANY (ARRAY(SELECT account_id FROM unnest(p_settlements)
                                     UNION SELECT o FROM unnest(p_settlements) AS s, unnest(s.other_accounts) AS o
                                     UNION SELECT account_id FROM unnest(p_extensions)
                                     UNION SELECT c FROM unnest(p_wishes) AS w, unnest(w.account_ids) AS c))
      ORDER BY account_id FOR NO KEY UPDATE;
    RETURN lock_budgets(p_org, ARRAY(SELECT id FROM unnest(p_settlements) UNION SELECT id FROM unnest(p_extensions)), p_wishes);
END
$$;
