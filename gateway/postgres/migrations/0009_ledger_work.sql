-- One statement for whatever an organisation has waiting, and the ledger's own housekeeping.

-- Settlements first: they free credits. Then extensions, because those calls are under way. Then new reservations.
-- Lock order, here and everywhere: fence, idempotency key, accounts by id, reservations, grants. Whoever finds a lock
-- taken for a second goes back into line, so that one organisation's trouble does not keep a lane from the others.
CREATE FUNCTION post_batch(p_org uuid, p_instance uuid, p_receivable_max bigint, p_settlements settlement_item[],
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


-- --- partitions ---------------------------------------------------------------------------------------------------

-- Makes the month's partition unless it is there. Runs as the schema's owner, because the application's role may not
-- create tables, and leaves that role with INSERT and SELECT alone.
CREATE FUNCTION make_ledger_month(p_day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    v_first date := date_trunc('month', p_day)::date;
    v_name  text := 'ledger_' || to_char(v_first, 'YYYY_MM');
    v_from  uuid := first_id_at(v_first::timestamp AT TIME ZONE 'UTC');
    v_to    uuid := first_id_at((v_first + interval '1 month') AT TIME ZONE 'UTC');
BEGIN
    INSERT INTO ledger_month (first_day, first_id, end_id) VALUES (v_first, v_from, v_to) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Made alone and then attached: that blocks nobody, where CREATE ... PARTITION OF would stop the whole ledger.
    EXECUTE format('CREATE TABLE %I (LIKE ledger INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', v_name);
    EXECUTE format('CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT '
                   'EXECUTE FUNCTION refuse_ledger_change()', v_name);
    EXECUTE format('ALTER TABLE ledger ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', v_name, v_from, v_to);
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
        EXECUTE format('REVOKE ALL ON %I FROM tollgate_app', v_name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO tollgate_app', v_name);
    END IF;
    RETURN true;
END
$$;

SELECT make_ledger_month((now() AT TIME ZONE 'UTC' + make_interval(months => ahead))::date) FROM generate_series(0, 3) AS ahead;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
        REVOKE ALL ON ledger, ledger_rest, ledger_month FROM tollgate_app;
        GRANT SELECT, INSERT ON ledger, ledger_rest TO tollgate_app;
        GRANT SELECT ON ledger_month TO tollgate_app;
    END IF;
END
$$;


-- --- grants -------------------------------------------------------------------------------------------------------

-- One grant, once per id and once per idempotency key (NULL: none). A grant of the future enters the balance when it
-- becomes effective. Statuses: ok · exists (this id or key did it before; the first answer again) · mismatch (the key came
-- with another body) · no_account · expired.
CREATE FUNCTION add_grant(p_org uuid, p_account uuid, p_id uuid, p_kind text, p_category text, p_priority smallint, p_amount bigint,
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


-- --- time ---------------------------------------------------------------------------------------------------------

-- Posts what is due on one account; for readers and for the periodic round. Calls do it for themselves.
CREATE FUNCTION bring_account_up_to_date(p_org uuid, p_account uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    a     account;
    v_now timestamptz;
BEGIN
    SELECT * INTO a FROM account WHERE org_id = p_org AND account_id = p_account FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    IF a.next_change_at <= v_now THEN
        PERFORM save_account(bring_up_to(a, v_now));
        RETURN true;
    END IF;
    RETURN false;
END
$$;


-- --- calls that nobody will end -----------------------------------------------------------------------------------

-- Ends open reservations of one account as `recovered`: those of dead owners, or those of the given ids. Charged is what
-- the owner had reported last, at least the prompt where the call was forwarded, and never more than was held.
CREATE FUNCTION recover_reservations(p_org uuid, p_account uuid, p_owners uuid[], p_ids uuid[], p_most integer, OUT ended integer,
                                     OUT charged_ucr bigint)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_items settlement_item[];
BEGIN
    PERFORM FROM account WHERE org_id = p_org AND account_id = p_account FOR NO KEY UPDATE;
    SELECT coalesce(array_agg(ROW(id, account_id, 'recovered', true, cost, (cost * 1000000::numeric)::text,
                                  jsonb_build_array(jsonb_build_array('recovered', cost, 1000000))::text, true, key_id, user_id,
                                  model, '', '', '', false, 0, '', 0, 0, 0, 0, 0,
                                  (extract(epoch FROM created_at) * 1000)::bigint, NULL, 0)::settlement_item ORDER BY id), '{}')
      INTO v_items
      FROM (SELECT *, greatest(spent_ucr, CASE WHEN forwarded THEN prompt_ucr ELSE 0 END)::bigint AS cost
              FROM reservation
             WHERE org_id = p_org AND account_id = p_account
               AND (id = ANY (p_ids) OR owner_kind = 'instance' AND owner_id = ANY (p_owners))
             ORDER BY id
             LIMIT p_most) AS r;
    SELECT count(*), coalesce(sum((u).charged_ucr), 0) INTO ended, charged_ucr
      FROM unnest(settle_batch(p_org, 0, v_items)) AS u;
END
$$;
