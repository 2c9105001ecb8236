-- Setting credits aside. Every item is answered, in the order given:
-- ok · exists · ended · insufficient · busy · budget · concurrency · receivable · suspended · parked · fenced · off_clock
-- · no_account

-- A wish is held whole, on the first account of its order that can, within every budget that it falls under, or not at
-- all; the smaller, learned amount is enough while there is plenty. Its open row is all that a reservation is: with it
-- goes its amount onto held_ucr of one account and of its budgets.
CREATE OR REPLACE FUNCTION reserve_batch(p_org uuid, p_owner_kind text, p_owner uuid, p_now timestamptz, p_wishes wish_item[],
                                         INOUT books account[], INOUT rooms budget_room[], OUT answers hold_answer[])
LANGUAGE plpgsql AS $$
DECLARE
    v_done record := admit_together(p_org, p_now, p_wishes, books, rooms);
BEGIN
    IF v_done.answers IS NULL THEN
        v_done := admit_one_by_one(p_org, p_now, p_wishes, books, rooms);
    END IF;
    books := v_done.books;
    rooms := v_done.rooms;
    answers := v_done.answers;
    INSERT INTO reservation (org_id, id, account_id, owner_kind, owner_id, expires_at, amount_ucr, spent_ucr, key_id,
                             user_id, model, feature, pin_id, budgets, created_at)
    SELECT p_org, id, account_id, p_owner_kind, p_owner, ends_at, held_ucr, prompt_ucr, key_id, user_id, model, nullif(feature, ''), pin_id,
           CASE WHEN rooms <> '{}' THEN
               nullif(ARRAY(SELECT r.id FROM unnest(rooms) AS r
                             WHERE falls_under(ROW(u.id, u.account_ids, u.amount_ucr, u.learned_ucr, u.prompt_ucr, u.key_id, u.user_id,
                                                   u.model, u.feature, u.pin_id, u.ends_at)::wish_item, r)), '{}')::text END, p_now
      FROM ROWS FROM (unnest(p_wishes), unnest(answers))
        AS u (id, account_ids, amount_ucr, learned_ucr, prompt_ucr, key_id, user_id, model, feature, pin_id, ends_at,
              status, held_ucr, available_ucr, balance_ucr, account_id, budget_scope, resets_at)
     WHERE u.status = 'ok';
END
$$;


-- Where one account has plenty for all of them, and every budget has: what the walk below would say, in one step.
-- No answers: it is not so simple.
CREATE OR REPLACE FUNCTION admit_together(p_org uuid, p_now timestamptz, p_wishes wish_item[], INOUT books account[],
                                          INOUT rooms budget_room[], OUT answers hold_answer[])
LANGUAGE plpgsql AS $$
DECLARE
    a       account;
    v_first uuid := first_id_at(p_now - interval '5 minutes');
    v_last  uuid := first_id_at(p_now + interval '5 minutes');
    v_free  bigint;
    w       record;
    r       record;
BEGIN
    SELECT array_agg(id) AS ids, count(DISTINCT id) AS calls, bool_or(id < v_first OR id > v_last) AS off_clock,
           bool_and(account_ids = p_wishes[1].account_ids) AS alike, sum(amount_ucr)::bigint AS total_ucr, max(amount_ucr) AS most_ucr,
           sum(least(learned_ucr, amount_ucr))::bigint AS held_ucr
      INTO w
      FROM unnest(p_wishes);
    IF cardinality(p_wishes[1].account_ids) <> 1 OR NOT w.alike OR w.off_clock OR w.calls < cardinality(p_wishes) THEN
        RETURN;
    END IF;
    a := books[place_of(books, p_wishes[1].account_ids[1])];
    v_free := a.balance_ucr - a.held_ucr;
    IF blocked_because(a) IS NOT NULL OR v_free - w.total_ucr < 20 * w.most_ucr
       OR EXISTS (SELECT FROM unnest(w.ids) AS u (id)
                   WHERE EXISTS (SELECT FROM reservation o WHERE o.org_id = p_org AND o.id = u.id OFFSET 0)
                      OR EXISTS (SELECT FROM ledger l WHERE l.org_id = p_org AND l.id = u.id OFFSET 0)) THEN
        RETURN;
    END IF;
    IF rooms <> '{}' THEN
        SELECT bool_or(room_in(u) - f.total_ucr < 20 * f.most_ucr OR u.open_max - u.open_count < f.calls) AS tight,
               array_agg(ROW(u.id, u.scope, u.scope_id, u.max_ucr, u.open_max, u.used_ucr, u.held_ucr + coalesce(f.held_ucr, 0),
                             u.open_count + f.calls, u.resets_at, u.takes_wishes)::budget_room ORDER BY u.id) AS rooms
          INTO r
          FROM unnest(rooms) AS u
         CROSS JOIN LATERAL (SELECT count(*) AS calls, sum(amount_ucr) AS total_ucr, max(amount_ucr) AS most_ucr,
                                    sum(least(learned_ucr, amount_ucr)) AS held_ucr
                               FROM unnest(p_wishes) AS x WHERE falls_under(x, u)) AS f;
        IF r.tight THEN
            RETURN;
        END IF;
        rooms := r.rooms;
    END IF;
    answers := ARRAY(
        SELECT ROW('ok', least(learned_ucr, amount_ucr), v_free - sum(least(learned_ucr, amount_ucr)) OVER (ORDER BY n), a.balance_ucr,
                   a.account_id, NULL, NULL)::hold_answer
          FROM unnest(p_wishes) WITH ORDINALITY AS u (id, account_ids, amount_ucr, learned_ucr, prompt_ucr, key_id, user_id, model,
                                                      feature, pin_id, ends_at, n)
         ORDER BY n);
    a.held_ucr := a.held_ucr + w.held_ucr;
    a.open_count := a.open_count + w.calls;
    books[place_of(books, a.account_id)] := a;
END
$$;


-- In the order of arrival, each as if it were alone.
CREATE OR REPLACE FUNCTION admit_one_by_one(p_org uuid, p_now timestamptz, p_wishes wish_item[], INOUT books account[],
                                            INOUT rooms budget_room[], OUT answers hold_answer[])
LANGUAGE plpgsql AS $$
DECLARE
    v_ids    uuid[] := '{}';
    v_answer hold_answer;
    v_open   reservation;
    v_place  integer;
    w        wish_item;
BEGIN
    answers := '{}';
    FOREACH w IN ARRAY p_wishes LOOP
        v_answer := NULL;
        SELECT * INTO v_open FROM reservation o WHERE o.org_id = p_org AND o.id = w.id;
        IF v_open.account_id = ANY (w.account_ids) THEN
            v_answer := ROW('exists', v_open.amount_ucr, 0, 0, v_open.account_id, NULL, NULL);
        ELSIF v_open.id IS NOT NULL THEN
            v_answer := ROW('ended', 0, 0, 0, w.account_ids[1], NULL, NULL);  -- the id is another call's
        ELSIF answers[array_position(v_ids, w.id)].status = 'ok' THEN
            v_answer := answers[array_position(v_ids, w.id)];
            v_answer.status := 'exists';
        ELSIF EXISTS (SELECT FROM ledger l WHERE l.org_id = p_org AND l.id = w.id) THEN
            v_answer := ROW('ended', 0, 0, 0, w.account_ids[1], NULL, NULL);
        ELSIF is_off_clock(w.id, p_now) THEN
            v_answer := ROW('off_clock', 0, 0, 0, w.account_ids[1], NULL, NULL);
        END IF;
        IF v_answer IS NULL THEN
            v_answer := admit(w, books, rooms);
            IF v_answer.status = 'ok' THEN
                v_place := place_of(books, v_answer.account_id);
                books[v_place].held_ucr := books[v_place].held_ucr + v_answer.held_ucr;
                books[v_place].open_count := books[v_place].open_count + 1;
                FOR i IN 1 .. cardinality(rooms) LOOP
                    IF falls_under(w, rooms[i]) THEN
                        rooms[i].held_ucr := rooms[i].held_ucr + v_answer.held_ucr;
                        rooms[i].open_count := rooms[i].open_count + 1;
                    END IF;
                END LOOP;
            END IF;
        ELSE
            v_place := place_of(books, v_answer.account_id);
            v_answer.balance_ucr := coalesce(books[v_place].balance_ucr, 0);
            v_answer.available_ucr := coalesce(books[v_place].balance_ucr - books[v_place].held_ucr, 0);
        END IF;
        answers := answers || v_answer;
        v_ids := v_ids || w.id;
    END LOOP;
END
$$;


CREATE OR REPLACE FUNCTION place_of(p_books account[], p_account uuid) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    FOR i IN 1 .. cardinality(p_books) LOOP
        IF p_books[i].account_id = p_account THEN
            RETURN i;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;


-- One wish on its own. Budgets first: what they refuse, no account can pay. Then the accounts, in its order; where none
-- can, the answer is that of the one that came nearest: it would fit with nothing held, else it lacks the least, so that a
-- smaller amount can be asked of it.
CREATE OR REPLACE FUNCTION admit(w wish_item, p_books account[], p_rooms budget_room[]) RETURNS hold_answer LANGUAGE plpgsql AS $$
DECLARE
    v_best    hold_answer := ROW('no_account', 0, 0, 0, w.account_ids[1], NULL, NULL);
    v_near    integer;
    v_nearest integer;
    v_tight   bigint;
    v_ucr     bigint;
    v_free    bigint;
    v_why     text;
    a         account;
    r         budget_room;
BEGIN
    FOREACH r IN ARRAY p_rooms LOOP
        CONTINUE WHEN NOT falls_under(w, r);
        IF r.open_count >= r.open_max THEN
            RETURN ROW('concurrency', 0, 0, 0, w.account_ids[1], r.scope, NULL)::hold_answer;
        END IF;
        v_tight := least(v_tight, room_in(r));
    END LOOP;
    FOR i IN 1 .. cardinality(w.account_ids) LOOP
        a := p_books[place_of(p_books, w.account_ids[i])];
        CONTINUE WHEN a.account_id IS NULL;
        v_free := a.balance_ucr - a.held_ucr;
        v_ucr := CASE WHEN least(v_free, v_tight) >= 20 * w.amount_ucr THEN least(w.learned_ucr, w.amount_ucr) ELSE w.amount_ucr END;
        v_why := blocked_because(a);
        IF v_why IS NULL AND v_ucr > v_tight THEN
            SELECT u.* INTO r FROM unnest(p_rooms) AS u
             WHERE falls_under(w, u) AND room_in(u) < v_ucr
             ORDER BY u.max_ucr - u.used_ucr, u.id LIMIT 1;
            RETURN ROW(CASE WHEN r.used_ucr + v_ucr > r.max_ucr THEN 'budget' ELSE 'busy' END, 0, greatest(v_tight, 0),
                       greatest(r.max_ucr - r.used_ucr, 0), a.account_id, r.scope, r.resets_at)::hold_answer;
        ELSIF v_why IS NULL THEN
            v_why := CASE WHEN v_ucr > a.balance_ucr THEN 'insufficient' WHEN v_ucr > v_free THEN 'busy' ELSE 'ok' END;
            IF v_why = 'ok' THEN
                RETURN ROW('ok', v_ucr, v_free - v_ucr, a.balance_ucr, a.account_id, NULL, NULL)::hold_answer;
            END IF;
        END IF;
        v_near := CASE v_why WHEN 'busy' THEN 2 WHEN 'insufficient' THEN 1 ELSE 0 END;
        IF v_nearest IS NULL OR (v_near, v_free) > (v_nearest, v_best.available_ucr) THEN
            v_nearest := v_near;
            v_best := ROW(v_why, 0, v_free, a.balance_ucr, a.account_id, NULL, NULL);
        END IF;
    END LOOP;
    RETURN v_best;
END
$$;
