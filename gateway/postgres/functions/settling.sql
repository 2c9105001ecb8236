-- Ending what was set aside. Settlement never refuses: it looks at neither fence nor parking nor suspension.

-- A real cost that arrives after the sweeper had ended the call: the difference is posted once, either way.
-- Its own id is derived, so that a repetition meets it; so the row is written where the difference is zero, too.
CREATE OR REPLACE FUNCTION settle_late(INOUT a account, s settlement_item, p_before ledger, p_receivable_max bigint, p_now timestamptz,
                            OUT late settlement_row, OUT status text)
LANGUAGE plpgsql AS $$
DECLARE
    v_more  bigint := s.cost_ucr - cost_ucr(p_before);
    v_most  bigint;
    v_known ledger;
    v_left  record;
    b       record;
BEGIN
    SELECT * INTO v_known FROM ledger WHERE org_id = a.org_id AND id = late_id(s.id);
    IF FOUND THEN
        status := CASE WHEN cost_ucr(v_known) = abs(v_more) AND (v_known.kind = 'REFUND') = (v_more < 0)
                       THEN 'same' ELSE 'conflict' END;
        RETURN;
    ELSIF month_is_closed(s.id) THEN
        status := 'too_old';
        RETURN;
    END IF;
    status := 'late';
    late.id := late_id(s.id);
    late.account_id := a.account_id;
    late.ref_id := s.id;
    late.held_ucr := 0;
    IF v_more >= 0 THEN
        late.kind := 'LATE_CHARGE';
        v_most := CASE WHEN s.waive_above_held THEN greatest(least(s.cost_ucr, p_before.held_ucr) - cost_ucr(p_before), 0)
                       ELSE v_more END;
        late.charged_ucr := least(v_most, a.balance_ucr - a.held_ucr);
        late.overage_ucr := least(v_most - late.charged_ucr, greatest(p_receivable_max - a.receivable_ucr, 0));
        late.waived_ucr := v_more - late.charged_ucr - late.overage_ucr;
        late.amount_ucr := -late.charged_ucr;
        a.receivable_ucr := a.receivable_ucr + late.overage_ucr;
        IF late.charged_ucr > 0 THEN
            b := burn(a, late.charged_ucr, NULL);
            late.burned_grants := b.grants;
            late.burned_ucr := b.burned_ucr;
        END IF;
    ELSE
        late.kind := 'REFUND';
        -- What was waived was never charged, and what was refunded by hand has come back already.
        late.charged_ucr := least(greatest(-v_more - coalesce(p_before.waived_ucr, 0), 0),
                                  charged_ucr(p_before) - refunded_ucr(a.org_id, s.id));
        late.overage_ucr := 0;  -- a sweep makes none: it waives what is above the reservation
        late.waived_ucr := -v_more - late.charged_ucr;
        late.amount_ucr := late.charged_ucr;
    END IF;
    a.balance_ucr := a.balance_ucr + late.amount_ucr;
    a.used_ucr := a.used_ucr - late.amount_ucr;
    a.version := a.version + 1;
    late.version := a.version;
    late.balance_after_ucr := a.balance_ucr;
    IF v_more < 0 THEN
        v_left := still_burned(p_before);
        b := unburn(a, v_left.grants, v_left.burned_ucr, late.charged_ucr, p_now);
        a := b.a;
        late.burned_grants := b.grants;
        late.burned_ucr := b.returned_ucr;
    END IF;
    a := repay(a, p_now, s.id);
END
$$;


-- An ending whose reservation is not open: a repetition, a call that was swept, a release that overtook its reserve.
CREATE OR REPLACE FUNCTION settle_unheld(INOUT a account, s settlement_item, p_receivable_max bigint, p_now timestamptz,
                              OUT ending settlement_row, OUT status text)
LANGUAGE plpgsql AS $$
DECLARE
    v_before ledger;
    v_late   record;
BEGIN
    SELECT * INTO v_before FROM ledger WHERE org_id = a.org_id AND id = s.id;
    IF FOUND THEN
        IF v_before.account_id <> a.account_id OR v_before.ended IS NULL THEN
            status := 'conflict';
        ELSIF v_before.ended IN ('recovered', 'expired') AND s.ended NOT IN ('recovered', 'expired') THEN
            v_late := settle_late(a, s, v_before, p_receivable_max, p_now);
            a := v_late.a;
            ending := v_late.late;
            status := v_late.status;
        ELSIF cost_ucr(v_before) = s.cost_ucr AND (v_before.kind = 'CHARGE') = s.delivered THEN
            status := 'same';
        ELSE
            status := 'conflict';
        END IF;
    ELSIF EXISTS (SELECT FROM reservation WHERE org_id = a.org_id AND id = s.id) THEN
        status := 'conflict';
    ELSIF s.id < (SELECT first_id FROM ledger_month WHERE closed_at IS NULL ORDER BY first_id LIMIT 1) THEN
        status := 'too_old';
    ELSE
        status := 'tombstone';
        a.version := a.version + 1;
        ending := ROW(s.id, a.account_id, CASE WHEN s.delivered THEN 'CHARGE' ELSE 'RELEASE' END, a.version, 0, a.balance_ucr,
                      NULL, 0, 0, s.cost_ucr, 0, NULL, NULL, NULL);
    END IF;
END
$$;


-- Nearly all calls burn one grant, and an array's header is longer than the id in it: one alone has a column of its own.
CREATE OR REPLACE FUNCTION write_endings(p_org uuid, p_items settlement_item[], p_rows settlement_row[], p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger (
        org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, ref_id, created_at, ended, user_id, key_id,
        model, feature, upstream, upstream_model, provider_request_id, streamed, status, finish_reason, prompt_tokens,
        cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, lines, numerator, overage_ucr, waived_ucr,
        held_ucr, burned_grant, burned_grants, burned_ucr, first_event_ms, duration_ms)
    SELECT p_org, r_id, r_account_id, version, kind, amount_ucr, balance_after_ucr, ref_id, p_now, ended, user_id, key_id,
           left(model, 256), nullif(left(feature, 256), ''), left(upstream, 256),
           nullif(left(upstream_model, 256), CASE WHEN upstream <> '' THEN left(model, 256) END),
           left(provider_request_id, 256), nullif(streamed, false), status, left(finish_reason, 64), prompt_tokens,
           nullif(cached_tokens, 0), nullif(cache_write_tokens, 0), output_tokens, nullif(reasoning_tokens, 0), lines::json,
           numerator::numeric, nullif(overage_ucr, 0), nullif(waived_ucr, 0), held_ucr,
           CASE WHEN cardinality(burned_grants) = 1 THEN burned_grants[1] END,
           CASE WHEN cardinality(burned_grants) > 1 THEN burned_grants END,
           CASE WHEN cardinality(burned_grants) > 1 THEN burned_ucr END, first_event_ms, duration_ms
      FROM ROWS FROM (unnest(p_items), unnest(p_rows)) AS u (
           id, account_id, ended, delivered, cost_ucr, numerator, lines, waive_above_held, key_id, user_id, model, feature, upstream,
           upstream_model, provider_request_id, streamed, status, finish_reason, prompt_tokens, cached_tokens,
           cache_write_tokens, output_tokens, reasoning_tokens, first_event_ms, duration_ms, other_accounts,
           r_id, r_account_id, kind, version, amount_ucr, balance_after_ucr, ref_id, charged_ucr, overage_ucr,
           waived_ucr, held_ucr, burned_grants, burned_ucr, budgets)
     WHERE version IS NOT NULL;
END
$$;


-- Every item gets its one ending row here, and the account what follows from it, as if the items came one by one. What it
-- touches was locked by lock_for_batch.
-- p_receivable_max bounds what an account may owe; beyond it the operator waives. The planner's settings are for plans
-- made while tables are empty and kept when they are not.
CREATE OR REPLACE FUNCTION settle_batch(p_org uuid, p_receivable_max bigint, p_items settlement_item[]) RETURNS settlement_answer[]
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET enable_nestloop = off AS $$
DECLARE
    v_ids   uuid[] := ARRAY(SELECT id FROM unnest(p_items));
    v_rows  settlement_row[] := array_fill(NULL::settlement_row, ARRAY[cardinality(p_items)]);
    v_why   text[] := array_fill('no_account'::text, ARRAY[cardinality(p_items)]);
    v_now   timestamptz;
    a       account;
    v_done  record;
BEGIN
    p_items := find_payers(p_org, p_items);
    FOR a IN
        SELECT * FROM account
         WHERE org_id = p_org AND account_id = ANY (ARRAY(SELECT DISTINCT account_id FROM unnest(p_items)))
         ORDER BY account_id
    LOOP
        v_now := clock_timestamp();
        IF a.next_change_at <= v_now THEN
            a := bring_up_to(a, v_now);
        END IF;
        v_done := settle_together(a, v_ids, p_items, v_rows, v_why);
        IF v_done.a IS NULL THEN
            v_done := settle_one_by_one(a, p_receivable_max, p_items, v_rows, v_why, v_now);
        END IF;
        a := v_done.a;
        v_rows := v_done.p_rows;
        v_why := v_done.p_why;
        PERFORM save_account(a);
    END LOOP;
    PERFORM write_endings(p_org, p_items, v_rows, v_now);
    IF EXISTS (SELECT FROM unnest(v_rows) AS r WHERE r.budgets IS NOT NULL) THEN
        PERFORM book_endings(p_org, v_rows);
    END IF;
    RETURN ARRAY(
        SELECT ROW(why, coalesce(charged_ucr, 0), coalesce(overage_ucr, 0), coalesce(waived_ucr, 0), coalesce(held_ucr, 0),
                   account_id)::settlement_answer
          FROM ROWS FROM (unnest(v_rows), unnest(v_why)) WITH ORDINALITY AS u (
               id, account_id, kind, version, amount_ucr, balance_after_ucr, ref_id, charged_ucr, overage_ucr, waived_ucr,
               held_ucr, burned_grants, burned_ucr, budgets, why, n)
         ORDER BY n);
END
$$;


-- Says for each item which account pays: where that is not known, the one that its reservation is on.
CREATE OR REPLACE FUNCTION find_payers(p_org uuid, p_items settlement_item[]) RETURNS settlement_item[]
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    FOR i IN 1 .. cardinality(p_items) LOOP
        IF p_items[i].other_accounts IS NOT NULL THEN
            p_items[i].account_id := coalesce((SELECT r.account_id FROM reservation r WHERE r.org_id = p_org AND r.id = p_items[i].id),
                                              p_items[i].account_id);
        END IF;
    END LOOP;
    RETURN p_items;
END
$$;


-- Where every item of the account is open, nothing is owed or expired, and one grant pays for all: what the walk below
-- would say, in one step. `a` is NULL where it is not so simple; then nothing was changed.
CREATE OR REPLACE FUNCTION settle_together(INOUT a account, p_ids uuid[], p_items settlement_item[], INOUT p_rows settlement_row[],
                                           INOUT p_why text[])
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET enable_nestloop = off AS $$
DECLARE
    g       credit_grant;
    v_sum   record;
BEGIN
    IF a.expired_ucr > 0 OR a.receivable_ucr > 0 OR cardinality(p_ids) < 2 THEN
        a := NULL;
        RETURN;
    END IF;
    g := first_grant(a);
    SELECT array_agg(ROW(u.id, u.account_id, CASE WHEN u.delivered THEN 'CHARGE' ELSE 'RELEASE' END, a.version + u.place, -u.charged,
                         a.balance_ucr - u.charged_so_far, NULL, u.charged, 0, u.cost_ucr - u.charged, u.held,
                         CASE WHEN u.charged > 0 THEN ARRAY[g.id] END, CASE WHEN u.charged > 0 THEN ARRAY[u.charged] END,
                         u.budgets::integer[])::settlement_row ORDER BY u.n) AS rows,
           count(*) AS calls, count(u.held) AS open, sum(u.charged)::bigint AS charged, sum(u.held)::bigint AS held,
           sum(greatest(u.charged - u.held, 0))::bigint AS above
      INTO v_sum
      FROM (SELECT i.*, r.amount_ucr AS held, r.budgets, c.charged,
                   row_number() OVER (ORDER BY i.n) AS place, sum(c.charged) OVER (ORDER BY i.n) AS charged_so_far
              FROM unnest(p_items) WITH ORDINALITY AS i (
                   id, account_id, ended, delivered, cost_ucr, numerator, lines, waive_above_held, key_id, user_id, model, feature,
                   upstream, upstream_model, provider_request_id, streamed, status, finish_reason, prompt_tokens, cached_tokens,
                   cache_write_tokens, output_tokens, reasoning_tokens, first_event_ms, duration_ms, other_accounts, n)
              LEFT JOIN (SELECT id, amount_ucr, budgets FROM reservation
                          WHERE org_id = a.org_id AND id = ANY (p_ids) AND account_id = a.account_id) AS r ON r.id = i.id
             CROSS JOIN LATERAL (SELECT CASE WHEN i.waive_above_held THEN least(i.cost_ucr, r.amount_ucr) ELSE i.cost_ucr END) AS c (charged)
             WHERE i.account_id = a.account_id) AS u;
    IF v_sum.open < v_sum.calls OR v_sum.calls < cardinality(p_ids) OR v_sum.above > a.balance_ucr - a.held_ucr
       OR v_sum.charged > coalesce(g.remaining_ucr, 0)
       OR (SELECT count(DISTINCT id) FROM unnest(p_ids) AS id) < cardinality(p_ids) THEN
        a := NULL;
        RETURN;
    END IF;
    DELETE FROM reservation WHERE org_id = a.org_id AND id = ANY (p_ids);
    PERFORM save_grant(g, g.remaining_ucr - v_sum.charged);
    a.balance_ucr := a.balance_ucr - v_sum.charged;
    a.held_ucr := a.held_ucr - v_sum.held;
    a.open_count := a.open_count - v_sum.calls;
    a.used_ucr := a.used_ucr + v_sum.charged;
    a.version := a.version + v_sum.calls;
    p_rows := v_sum.rows;
    p_why := array_fill('settled'::text, ARRAY[cardinality(p_ids)]);
END
$$;


-- One after another, whatever each of them meets.
CREATE OR REPLACE FUNCTION settle_one_by_one(INOUT a account, p_receivable_max bigint, p_items settlement_item[],
                                             INOUT p_rows settlement_row[], INOUT p_why text[], p_now timestamptz)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    s         settlement_item;
    v_open    reservation;
    v_unheld  record;
    v_charged bigint;
    v_overage bigint;
    v_most    bigint;
    b         record;
BEGIN
    FOR i IN 1 .. cardinality(p_items) LOOP
        s := p_items[i];
        CONTINUE WHEN s.account_id <> a.account_id;
        DELETE FROM reservation WHERE org_id = a.org_id AND id = s.id AND account_id = a.account_id RETURNING * INTO v_open;
        IF NOT FOUND THEN
            v_unheld := settle_unheld(a, s, p_receivable_max, p_now);
            a := v_unheld.a;
            p_rows[i] := v_unheld.ending;
            p_why[i] := v_unheld.status;
            CONTINUE;
        END IF;
        a.held_ucr := a.held_ucr - v_open.amount_ucr;
        a.open_count := a.open_count - 1;
        v_most := CASE WHEN s.waive_above_held THEN least(s.cost_ucr, v_open.amount_ucr) ELSE s.cost_ucr END;
        v_charged := least(v_most, a.balance_ucr - a.held_ucr);
        v_overage := least(v_most - v_charged, greatest(p_receivable_max - a.receivable_ucr, 0));
        a.balance_ucr := a.balance_ucr - v_charged;
        a.receivable_ucr := a.receivable_ucr + v_overage;
        a.used_ucr := a.used_ucr + v_charged;
        a.version := a.version + 1;
        b := burn(a, v_charged, v_open.created_at);
        a.expired_ucr := a.expired_ucr - b.expired_ucr;
        p_why[i] := 'settled';
        p_rows[i] := ROW(s.id, a.account_id, CASE WHEN s.delivered THEN 'CHARGE' ELSE 'RELEASE' END, a.version, -v_charged,
                       a.balance_ucr, NULL, v_charged, v_overage, s.cost_ucr - v_charged - v_overage, v_open.amount_ucr,
                       b.grants, b.burned_ucr, v_open.budgets::integer[]);
        IF a.expired_ucr > 0 THEN
            a := trim_expired(a, p_now);
        END IF;
        IF a.receivable_ucr > 0 AND a.balance_ucr > a.held_ucr THEN
            a := repay(a, p_now, s.id);
        END IF;
    END LOOP;
END
$$;
