-- One statement for whatever an organisation has waiting.

-- Settlements first: they free credits. Then extensions, because those calls are under way. Then new reservations.
-- Lock order, here and everywhere: fence, idempotency key, accounts by id, reservations, grants. Whoever finds a lock
-- taken for a second goes back into line, so that one organisation's trouble does not keep a lane from the others.
CREATE OR REPLACE FUNCTION post_batch(p_org uuid, p_instance uuid, p_receivable_max bigint, p_settlements settlement_item[],
                           p_extensions extension_item[], p_wishes wish_item[],
                           OUT settlements settlement_answer[], OUT extensions hold_answer[], OUT wishes hold_answer[])
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET lock_timeout = '1s' AS $$
DECLARE
    v_holds integer := cardinality(p_extensions) + cardinality(p_wishes);
BEGIN
    IF v_holds > 0 THEN
        PERFORM FROM fence WHERE instance_id = p_instance AND fenced_at IS NULL FOR SHARE;
        IF NOT FOUND THEN
            extensions := array_fill(ROW('fenced', 0, 0, 0)::hold_answer, ARRAY[cardinality(p_extensions)]);
            wishes := array_fill(ROW('fenced', 0, 0, 0)::hold_answer, ARRAY[cardinality(p_wishes)]);
            v_holds := 0;
        END IF;
    END IF;
    IF v_holds > 0 AND v_holds + cardinality(p_settlements) > 1 THEN
        -- All of them now: the steps below each lock their own, and together those are not in order.
        PERFORM FROM account
          WHERE org_id = p_org AND account_id = ANY (ARRAY(SELECT account_id FROM unnest(p_settlements)
                                                           UNION SELECT account_id FROM unnest(p_extensions)
                                                           UNION SELECT account_id FROM unnest(p_wishes)))
          ORDER BY account_id FOR NO KEY UPDATE;
    END IF;
    IF cardinality(p_settlements) > 0 THEN
        settlements := settle_batch(p_org, p_receivable_max, p_settlements);
    END IF;
    IF v_holds > 0 AND cardinality(p_extensions) > 0 THEN
        extensions := extend_batch(p_org, p_extensions);
    END IF;
    IF v_holds > 0 AND cardinality(p_wishes) > 0 THEN
        wishes := reserve_batch(p_org, p_instance, p_wishes);
    END IF;
END
$$;
