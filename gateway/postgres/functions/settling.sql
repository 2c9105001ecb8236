-- Ending what was set aside. Settlement never refuses: it looks at neither fence nor parking nor suspension.

-- A real cost that arrives after the sweeper had ended the call: the difference is posted once, either way.
-- Its own id is derived, so that a repetition meets it; so the row is written where the difference is zero, too.
CREATE OR REPLACE FUNCTION settle_late(INOUT a account, s settlement_item, p_before ledger, p_receivable_max bigint, p_now timestamptz,
                            OUT late settlement_row, OUT status text)
LANGUAGE plpgsql AS $$
DECLARE
    v_more  bigint := s.cost_ucr - p_before.cost_ucr;
    v_most  bigint;
    v_known ledger;
    b       record;
BEGIN
    SELECT * INTO v_known FROM ledger WHERE org_id = a.org_id AND id = late_id(s.id);
    IF FOUND THEN
        status := CASE WHEN v_known.cost_ucr = abs(v_more) AND (v_known.kind = 'REFUND') = (v_more < 0)
                       THEN 'same' ELSE 'conflict' END;
        RETURN;
    END IF;
    status := 'late';
    late.id := late_id(s.id);
    late.account_id := a.account_id;
    late.ref_id := s.id;
    late.cost_ucr := abs(v_more);
    late.held_ucr := 0;
    IF v_more >= 0 THEN
        late.kind := 'LATE_CHARGE';
        v_most := CASE WHEN s.waive_above_held THEN greatest(least(s.cost_ucr, p_before.held_ucr) - p_before.cost_ucr, 0)
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
        late.waived_ucr := least(-v_more, p_before.waived_ucr);
        late.overage_ucr := 0;  -- a sweep makes none: it waives what is above the reservation
        late.charged_ucr := -v_more - late.waived_ucr;
        late.amount_ucr := late.charged_ucr;
    END IF;
    a.balance_ucr := a.balance_ucr + late.amount_ucr;
    a.used_ucr := a.used_ucr - late.amount_ucr;
    a.version := a.version + 1;
    late.version := a.version;
    late.balance_after_ucr := a.balance_ucr;
    IF v_more < 0 THEN
        b := unburn(a, p_before.burned_grants, p_before.burned_ucr, late.charged_ucr, p_now);
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
        ELSIF v_before.ended = 'recovered' AND s.ended <> 'recovered' THEN
            v_late := settle_late(a, s, v_before, p_receivable_max, p_now);
            a := v_late.a;
            ending := v_late.late;
            status := v_late.status;
        ELSIF v_before.cost_ucr = s.cost_ucr AND (v_before.kind = 'CHARGE') = s.delivered THEN
            status := 'same';
        ELSE
            status := 'conflict';
        END IF;
    ELSIF EXISTS (SELECT FROM reservation WHERE org_id = a.org_id AND id = s.id) THEN
        status := 'conflict';
    ELSIF s.id < (SELECT first_id FROM ledger_month WHERE detached_at IS NULL ORDER BY first_id LIMIT 1) THEN
        status := 'too_old';
    ELSE
        status := 'tombstone';
        a.version := a.version + 1;
        ending := ROW(s.id, a.account_id, CASE WHEN s.delivered THEN 'CHARGE' ELSE 'RELEASE' END, a.version, 0, a.balance_ucr,
                      NULL, s.cost_ucr, 0, 0, s.cost_ucr, 0, NULL, NULL);
    END IF;
END
$$;


CREATE OR REPLACE FUNCTION write_endings(p_org uuid, p_items settlement_item[], p_rows settlement_row[], p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger (
        org_id, id, account_id, version, kind, contra, amount_ucr, balance_after_ucr, ref_id, created_at, ended, user_id, key_id,
        model, upstream, upstream_model, provider_request_id, streamed, status, finish_reason, prompt_tokens, cached_tokens,
        cache_write_tokens, output_tokens, reasoning_tokens, lines, numerator, cost_ucr, charged_ucr, overage_ucr, waived_ucr,
        held_ucr, burned_grants, burned_ucr, started_at, first_event_ms, duration_ms)
    SELECT p_org, r_id, r_account_id, version, kind, 'revenue', amount_ucr, balance_after_ucr, ref_id, p_now, ended, user_id, key_id,
           left(model, 256), left(upstream, 256), left(upstream_model, 256), left(provider_request_id, 256), streamed, status,
           left(finish_reason, 64), prompt_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
           lines::jsonb, numerator::numeric, r_cost_ucr, charged_ucr, overage_ucr, waived_ucr, held_ucr, burned_grants, burned_ucr,
           to_timestamp(started_at_ms / 1000.0), first_event_ms, duration_ms
      FROM ROWS FROM (unnest(p_items), unnest(p_rows)) AS u (
           id, account_id, ended, delivered, cost_ucr, numerator, lines, waive_above_held, key_id, user_id, model, upstream,
           upstream_model, provider_request_id, streamed, status, finish_reason, prompt_tokens, cached_tokens,
           cache_write_tokens, output_tokens, reasoning_tokens, started_at_ms, first_event_ms, duration_ms,
           r_id, r_account_id, kind, version, amount_ucr, balance_after_ucr, ref_id, r_cost_ucr, charged_ucr, overage_ucr,
           waived_ucr, held_ucr, burned_grants, burned_ucr)
     WHERE version IS NOT NULL;
END
$$;


-- Every item gets its one ending row here, and the account what follows from it, as if the items came one by one.
-- p_receivable_max bounds what an account may owe; beyond it the operator waives. The planner's settings are for plans
-- made while tables are empty and kept when they are not.
CREATE OR REPLACE FUNCTION settle_batch(p_org uuid, p_receivable_max bigint, p_items settlement_item[]) RETURNS settlement_answer[]
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET enable_nestloop = off AS $$
DECLARE
    v_ids       uuid[] := ARRAY(SELECT id FROM unnest(p_items));
    v_accounts  uuid[] := ARRAY(SELECT DISTINCT account_id FROM unnest(p_items));
    v_answers   settlement_answer[] := array_fill(ROW('no_account', 0, 0, 0, 0)::settlement_answer, ARRAY[cardinality(p_items)]);
    v_rows      settlement_row[] := array_fill(NULL::settlement_row, ARRAY[cardinality(p_items)]);
    v_now       timestamptz;
    v_singly    boolean;
    v_cost      bigint;
    v_most      bigint;
    v_charged   bigint;
    v_overage   bigint;
    v_status    text;
    a           account;
    s           record;
    v_row       settlement_row;
    v_unheld    record;
    v_grants    uuid[];
    v_burned    bigint[];
    v_expired   bigint;
    -- The first grant in burn order, kept here while it lasts; written back before anyone else looks.
    g           credit_grant;
    v_left      bigint;
BEGIN
    FOR a IN
        SELECT * FROM account WHERE org_id = p_org AND account_id = ANY (v_accounts) ORDER BY account_id FOR NO KEY UPDATE
    LOOP
        v_now := clock_timestamp();
        IF a.next_change_at <= v_now THEN
            a := bring_up_to(a, v_now);
        END IF;
        -- Expired grants last as long as reservations older than them are open, so then rows must go one after another.
        v_singly := a.expired_ucr > 0;
        g := first_grant(a);
        v_left := g.remaining_ucr;
        FOR s IN
            WITH gone AS (
                DELETE FROM reservation
                 WHERE org_id = p_org AND id = ANY (v_ids) AND account_id = a.account_id AND NOT v_singly
                RETURNING id, amount_ucr, created_at
            )
            SELECT u.n, u.id, u.delivered, u.cost_ucr, u.waive_above_held, gone.amount_ucr AS held_ucr, gone.created_at AS made_at
              FROM unnest(p_items) WITH ORDINALITY AS u (
                   id, account_id, ended, delivered, cost_ucr, numerator, lines, waive_above_held, key_id, user_id, model, upstream,
                   upstream_model, provider_request_id, streamed, status, finish_reason, prompt_tokens, cached_tokens,
                   cache_write_tokens, output_tokens, reasoning_tokens, started_at_ms, first_event_ms, duration_ms, n)
              LEFT JOIN gone ON gone.id = u.id
             WHERE u.account_id = a.account_id
             ORDER BY u.n
        LOOP
            IF v_singly THEN
                DELETE FROM reservation WHERE org_id = p_org AND id = s.id AND account_id = a.account_id
                RETURNING amount_ucr, created_at INTO s.held_ucr, s.made_at;
            END IF;
            v_row := NULL;
            IF s.held_ucr IS NULL THEN
                PERFORM save_grant(g, v_left);
                v_unheld := settle_unheld(a, p_items[s.n], p_receivable_max, v_now);
                a := v_unheld.a;
                v_row := v_unheld.ending;
                v_status := v_unheld.status;
                g := first_grant(a);
                v_left := g.remaining_ucr;
            ELSE
                v_cost := s.cost_ucr;
                a.held_ucr := a.held_ucr - s.held_ucr;
                a.open_count := a.open_count - 1;
                v_most := CASE WHEN s.waive_above_held THEN least(v_cost, s.held_ucr) ELSE v_cost END;
                v_charged := least(v_most, a.balance_ucr - a.held_ucr);
                v_overage := least(v_most - v_charged, greatest(p_receivable_max - a.receivable_ucr, 0));
                a.balance_ucr := a.balance_ucr - v_charged;
                a.receivable_ucr := a.receivable_ucr + v_overage;
                a.used_ucr := a.used_ucr + v_charged;
                a.version := a.version + 1;
                IF v_charged = 0 THEN
                    v_grants := NULL;
                    v_burned := NULL;
                ELSIF v_charged <= v_left THEN
                    v_left := v_left - v_charged;
                    v_grants := ARRAY[g.id];
                    v_burned := ARRAY[v_charged];
                ELSE
                    PERFORM save_grant(g, v_left);
                    SELECT u.grants, u.burned_ucr, u.expired_ucr INTO v_grants, v_burned, v_expired
                      FROM burn(a, v_charged, s.made_at) AS u;
                    a.expired_ucr := a.expired_ucr - v_expired;
                    g := first_grant(a);
                    v_left := g.remaining_ucr;
                END IF;
                v_status := 'settled';
                v_row := ROW(s.id, a.account_id, CASE WHEN s.delivered THEN 'CHARGE' ELSE 'RELEASE' END, a.version, -v_charged,
                             a.balance_ucr, NULL, v_cost, v_charged, v_overage, v_cost - v_charged - v_overage, s.held_ucr,
                             v_grants, v_burned);
                IF a.expired_ucr > 0 THEN
                    a := trim_expired(a, v_now);
                END IF;
                IF a.receivable_ucr > 0 AND a.balance_ucr > a.held_ucr THEN
                    PERFORM save_grant(g, v_left);
                    a := repay(a, v_now, s.id);
                    g := first_grant(a);
                    v_left := g.remaining_ucr;
                END IF;
            END IF;
            v_rows[s.n] := v_row;
            v_answers[s.n] := ROW(v_status, coalesce(v_row.charged_ucr, 0), coalesce(v_row.overage_ucr, 0),
                                  coalesce(v_row.waived_ucr, 0), coalesce(v_row.held_ucr, 0))::settlement_answer;
        END LOOP;
        PERFORM save_grant(g, v_left);
        PERFORM save_account(a);
    END LOOP;
    PERFORM write_endings(p_org, p_items, v_rows, v_now);
    RETURN v_answers;
END
$$;
