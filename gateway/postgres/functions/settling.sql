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


-- Every item gets its one ending row here, and the account and the budgets what follows from it, as if the items came one
-- by one.
-- p_opened: the reservations that are open under these ids. p_receivable_max bounds what an account may owe; beyond it the
-- operator waives.
CREATE OR REPLACE FUNCTION settle_batch(p_org uuid, p_receivable_max bigint, p_now timestamptz, p_items settlement_item[],
                                        p_opened reservation[], INOUT books account[], INOUT rooms budget_room[],
                                        OUT answers settlement_answer[])
LANGUAGE plpgsql SET enable_nestloop = off AS $$
DECLARE
    v_done record := settle_together(p_items, p_opened, books);
BEGIN
    IF v_done.items IS NULL THEN
        v_done := settle_one_by_one(p_receivable_max, p_now, p_items, p_opened, books);
    END IF;
    books := v_done.books;
    answers := v_done.answers;
    -- Nearly all calls burn one grant, and an array's header is longer than the id in it: one alone has a column of its own.
    INSERT INTO ledger (
        org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, ref_id, created_at, ended, user_id, key_id,
        model, feature, upstream, upstream_model, provider_request_id, streamed, status, finish_reason, prompt_tokens,
        cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, lines, numerator, overage_ucr, waived_ucr,
        held_ucr, burned_grant, burned_grants, burned_ucr, first_event_ms, duration_ms, tags)
    SELECT p_org, r_id, r_account_id, version, kind, amount_ucr, balance_after_ucr, ref_id, p_now, ended, user_id, key_id,
           left(model, 256), nullif(left(feature, 256), ''), left(upstream, 256),
           nullif(left(upstream_model, 256), CASE WHEN upstream <> '' THEN left(model, 256) END),
           left(provider_request_id, 256), nullif(streamed, false), status, left(finish_reason, 64), prompt_tokens,
           nullif(cached_tokens, 0), nullif(cache_write_tokens, 0), output_tokens, nullif(reasoning_tokens, 0), lines::json,
           numerator::numeric, nullif(overage_ucr, 0), nullif(waived_ucr, 0), held_ucr,
           CASE WHEN cardinality(burned_grants) = 1 THEN burned_grants[1] END,
           CASE WHEN cardinality(burned_grants) > 1 THEN burned_grants END,
           CASE WHEN cardinality(burned_grants) > 1 THEN burned_ucr END, first_event_ms, duration_ms, tags
      FROM ROWS FROM (unnest(p_items), unnest(v_done.items)) AS u (
           id, account_id, ended, delivered, cost_ucr, numerator, lines, waive_above_held, key_id, user_id, model, feature, upstream,
           upstream_model, provider_request_id, streamed, status, finish_reason, prompt_tokens, cached_tokens,
           cache_write_tokens, output_tokens, reasoning_tokens, first_event_ms, duration_ms, other_accounts, tags,
           r_id, r_account_id, kind, version, amount_ucr, balance_after_ucr, ref_id, charged_ucr, overage_ucr,
           waived_ucr, held_ucr, burned_grants, burned_ucr, budgets)
     WHERE version IS NOT NULL;
    IF rooms <> '{}' THEN
        rooms := book_endings(rooms, v_done.items);
    END IF;
END
$$;


-- Where one account pays for every item, each is open, nothing is owed or expired, and one grant pays for all: what the
-- walk below would say, in one step. `items` is NULL where it is not so simple; then nothing was changed.
CREATE OR REPLACE FUNCTION settle_together(p_items settlement_item[], p_opened reservation[], INOUT books account[],
                                           OUT items settlement_row[], OUT answers settlement_answer[])
LANGUAGE plpgsql AS $$
DECLARE
    v_place integer := place_of(books, p_items[1].account_id);
    a       account := books[v_place];
    g       credit_grant;
    v_sum   record;
BEGIN
    IF v_place IS NULL OR a.expired_ucr > 0 OR a.receivable_ucr > 0 OR cardinality(p_items) < 2 THEN
        RETURN;
    END IF;
    g := first_grant(a);
    SELECT array_agg(ROW(u.id, u.account_id, CASE WHEN u.delivered THEN 'CHARGE' ELSE 'RELEASE' END, a.version + u.n, -u.charged,
                         a.balance_ucr - u.charged_so_far, NULL, u.charged, 0, u.cost_ucr - u.charged, u.held,
                         CASE WHEN u.charged > 0 THEN ARRAY[g.id] END, CASE WHEN u.charged > 0 THEN ARRAY[u.charged] END,
                         u.budgets::integer[])::settlement_row ORDER BY u.n) AS items,
           array_agg(ROW('settled', u.charged, 0, u.cost_ucr - u.charged, u.held, u.account_id)::settlement_answer ORDER BY u.n) AS answers,
           array_agg(u.id) AS ids, count(DISTINCT u.id) AS calls, count(u.held) AS open, sum(u.charged)::bigint AS charged,
           sum(u.held)::bigint AS held, sum(greatest(u.charged - u.held, 0))::bigint AS above
      INTO v_sum
      FROM (SELECT i.*, r.amount_ucr AS held, r.budgets, c.charged, sum(c.charged) OVER (ORDER BY i.n) AS charged_so_far
              FROM unnest(p_items) WITH ORDINALITY AS i (
                   id, account_id, ended, delivered, cost_ucr, numerator, lines, waive_above_held, key_id, user_id, model, feature,
                   upstream, upstream_model, provider_request_id, streamed, status, finish_reason, prompt_tokens, cached_tokens,
                   cache_write_tokens, output_tokens, reasoning_tokens, first_event_ms, duration_ms, other_accounts, tags, n)
              LEFT JOIN unnest(p_opened) AS r ON r.id = i.id AND r.account_id = i.account_id
             CROSS JOIN LATERAL (SELECT CASE WHEN i.waive_above_held THEN least(i.cost_ucr, r.amount_ucr) ELSE i.cost_ucr END) AS c (charged)
             WHERE i.account_id = a.account_id AND i.other_accounts IS NULL) AS u;
    IF v_sum.calls < cardinality(p_items) OR v_sum.open < v_sum.calls OR v_sum.above > a.balance_ucr - a.held_ucr
       OR v_sum.charged > coalesce(g.remaining_ucr, 0) THEN
        RETURN;
    END IF;
    DELETE FROM reservation WHERE org_id = a.org_id AND id = ANY (v_sum.ids);
    IF v_sum.charged > 0 THEN
        UPDATE credit_grant SET remaining_ucr = remaining_ucr - v_sum.charged WHERE org_id = g.org_id AND id = g.id;
    END IF;
    a.balance_ucr := a.balance_ucr - v_sum.charged;
    a.held_ucr := a.held_ucr - v_sum.held;
    a.open_count := a.open_count - v_sum.calls;
    a.used_ucr := a.used_ucr + v_sum.charged;
    a.version := a.version + v_sum.calls;
    books[v_place] := a;
    items := v_sum.items;
    answers := v_sum.answers;
END
$$;


-- One after another, whatever each of them meets. Where it is not known which account was to pay, it is the one that the
-- reservation is on.
CREATE OR REPLACE FUNCTION settle_one_by_one(p_receivable_max bigint, p_now timestamptz, p_items settlement_item[],
                                             p_opened reservation[], INOUT books account[], OUT items settlement_row[],
                                             OUT answers settlement_answer[])
LANGUAGE plpgsql AS $$
DECLARE
    s         settlement_item;
    e         settlement_row;
    v_place   integer;
    v_why     text;
    v_open    reservation;
    v_unheld  record;
    v_most    bigint;
    a         account;
    b         record;
BEGIN
    items := array_fill(NULL::settlement_row, ARRAY[cardinality(p_items)]);
    answers := array_fill(NULL::settlement_answer, ARRAY[cardinality(p_items)]);
    FOR i IN 1 .. cardinality(p_items) LOOP
        s := p_items[i];
        e := NULL;
        IF s.other_accounts IS NOT NULL THEN
            s.account_id := coalesce((SELECT r.account_id FROM unnest(p_opened) AS r WHERE r.id = s.id), s.account_id);
        END IF;
        v_place := place_of(books, s.account_id);
        IF v_place IS NULL THEN
            answers[i] := ROW('no_account', 0, 0, 0, 0, s.account_id);
            CONTINUE;
        END IF;
        a := books[v_place];
        DELETE FROM reservation WHERE org_id = a.org_id AND id = s.id AND account_id = a.account_id RETURNING * INTO v_open;
        IF FOUND THEN
            v_why := 'settled';
            a.held_ucr := a.held_ucr - v_open.amount_ucr;
            a.open_count := a.open_count - 1;
            v_most := CASE WHEN s.waive_above_held THEN least(s.cost_ucr, v_open.amount_ucr) ELSE s.cost_ucr END;
            e := ROW(s.id, a.account_id, CASE WHEN s.delivered THEN 'CHARGE' ELSE 'RELEASE' END, a.version + 1, NULL, NULL, NULL,
                     least(v_most, a.balance_ucr - a.held_ucr), NULL, NULL, v_open.amount_ucr, NULL, NULL, v_open.budgets::integer[]);
            e.overage_ucr := least(v_most - e.charged_ucr, greatest(p_receivable_max - a.receivable_ucr, 0));
            e.waived_ucr := s.cost_ucr - e.charged_ucr - e.overage_ucr;
            a.balance_ucr := a.balance_ucr - e.charged_ucr;
            a.receivable_ucr := a.receivable_ucr + e.overage_ucr;
            a.used_ucr := a.used_ucr + e.charged_ucr;
            a.version := e.version;
            b := burn(a, e.charged_ucr, v_open.created_at);
            a.expired_ucr := a.expired_ucr - b.expired_ucr;
            e.amount_ucr := -e.charged_ucr;
            e.balance_after_ucr := a.balance_ucr;
            e.burned_grants := b.grants;
            e.burned_ucr := b.burned_ucr;
            IF a.expired_ucr > 0 THEN
                a := trim_expired(a, p_now);
            END IF;
            IF a.receivable_ucr > 0 AND a.balance_ucr > a.held_ucr THEN
                a := repay(a, p_now, s.id);
            END IF;
        ELSE
            v_unheld := settle_unheld(a, s, p_receivable_max, p_now);
            a := v_unheld.a;
            e := v_unheld.ending;
            v_why := v_unheld.status;
        END IF;
        books[v_place] := a;
        items[i] := e;
        answers[i] := ROW(v_why, coalesce(e.charged_ucr, 0), coalesce(e.overage_ucr, 0), coalesce(e.waived_ucr, 0),
                          coalesce(e.held_ucr, 0), e.account_id);
    END LOOP;
END
$$;
