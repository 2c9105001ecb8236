-- Calls that nobody will end.

-- Ends open reservations of one account as `recovered`: those of dead owners, or those of the given ids. Charged is what
-- the owner had reported last, at least the prompt, and never more than was held.
CREATE OR REPLACE FUNCTION recover_reservations(p_org uuid, p_account uuid, p_owners uuid[], p_ids uuid[], p_most integer, OUT ended integer,
                                     OUT charged_ucr bigint)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_items settlement_item[];
BEGIN
    PERFORM FROM account WHERE org_id = p_org AND account_id = p_account FOR NO KEY UPDATE;
    SELECT coalesce(array_agg(ROW(id, account_id, 'recovered', true, cost, (cost * 1000000::numeric)::text,
                                  jsonb_build_array(jsonb_build_array('recovered', cost, 1000000))::text, true, key_id, user_id,
                                  model, feature, '', '', '', false, 0, '', 0, 0, 0, 0, 0, NULL, 0, NULL, NULL)::settlement_item ORDER BY id), '{}')
      INTO v_items
      FROM (SELECT *, spent_ucr::bigint AS cost
              FROM reservation
             WHERE org_id = p_org AND account_id = p_account
               AND (id = ANY (p_ids) OR owner_kind IS NULL AND owner_id = ANY (p_owners))
             ORDER BY id
             LIMIT p_most) AS r;
    SELECT count(*), coalesce(sum((u).charged_ucr), 0) INTO ended, charged_ucr
      FROM unnest((run_batch(p_org, NULL, NULL, 0, v_items, '{}', '{}')).settlements) AS u;
END
$$;
