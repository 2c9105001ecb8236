-- Holding more for calls that are under way. Statuses as in reserving.sql.

-- "Hold at least": absolute, so that asking twice is asking once. Oldest call first where credits are short.
CREATE OR REPLACE FUNCTION extend_batch(p_extensions extension_item[], INOUT books account[], INOUT rooms budget_room[],
                                        OUT answers hold_answer[])
LANGUAGE plpgsql AS $$
DECLARE
    v_place integer;
    x       record;
    h       record;
BEGIN
    answers := array_fill(ROW('no_account', 0, 0, 0, NULL, NULL, NULL)::hold_answer, ARRAY[cardinality(p_extensions)]);
    FOR x IN
        SELECT u.n, u.id, u.account_id, u.at_least_ucr
          FROM unnest(p_extensions) WITH ORDINALITY AS u (id, account_id, at_least_ucr, n)
         ORDER BY u.id, u.n
    LOOP
        v_place := place_of(books, x.account_id);
        CONTINUE WHEN v_place IS NULL;
        h := extend(books[v_place], rooms, x.id, x.at_least_ucr);
        books[v_place] := h.a;
        rooms := h.rooms;
        answers[x.n] := h.answer;
    END LOOP;
END
$$;


CREATE OR REPLACE FUNCTION extend(INOUT a account, INOUT rooms budget_room[], p_id uuid, p_at_least_ucr bigint, OUT answer hold_answer)
LANGUAGE plpgsql AS $$
DECLARE
    v_free    bigint := a.balance_ucr - a.held_ucr;
    v_blocked text := blocked_because(a);
    v_more    bigint;
    v_open    reservation;
    v_held_in integer[];
    r         budget_room;
BEGIN
    SELECT * INTO v_open FROM reservation WHERE org_id = a.org_id AND id = p_id AND account_id = a.account_id;
    IF NOT FOUND THEN
        answer := ROW('ended', 0, v_free, a.balance_ucr, a.account_id, NULL, NULL);
        RETURN;
    END IF;
    v_more := p_at_least_ucr - v_open.amount_ucr;
    IF v_more <= 0 THEN
        answer := ROW('exists', v_open.amount_ucr, v_free, a.balance_ucr, a.account_id, NULL, NULL);
        RETURN;
    ELSIF v_blocked IS NOT NULL THEN
        answer := ROW(v_blocked, v_open.amount_ucr, v_free, a.balance_ucr, a.account_id, NULL, NULL);
        RETURN;
    END IF;
    v_held_in := coalesce(v_open.budgets::integer[], '{}');
    SELECT u.* INTO r
      FROM unnest(rooms) AS u
     WHERE u.id = ANY (v_held_in) AND room_in(u) < v_more
     ORDER BY u.max_ucr - u.used_ucr, u.id
     LIMIT 1;
    IF FOUND THEN
        -- What it holds already is its own: of the budget it may have that, and what others do not hold.
        answer := ROW(CASE WHEN p_at_least_ucr > r.max_ucr - r.used_ucr THEN 'budget' ELSE 'busy' END, v_open.amount_ucr,
                      greatest(room_in(r), 0), a.balance_ucr, a.account_id, r.scope, r.resets_at);
        RETURN;
    ELSIF p_at_least_ucr > a.balance_ucr THEN
        answer := ROW('insufficient', v_open.amount_ucr, v_free, a.balance_ucr, a.account_id, NULL, NULL);
        RETURN;
    ELSIF v_more > v_free THEN
        answer := ROW('busy', v_open.amount_ucr, v_free, a.balance_ucr, a.account_id, NULL, NULL);
        RETURN;
    END IF;
    UPDATE reservation SET amount_ucr = p_at_least_ucr WHERE org_id = a.org_id AND id = p_id;
    a.held_ucr := a.held_ucr + v_more;
    FOR i IN 1 .. cardinality(rooms) LOOP
        IF rooms[i].id = ANY (v_held_in) THEN
            rooms[i].held_ucr := rooms[i].held_ucr + v_more;
        END IF;
    END LOOP;
    answer := ROW('ok', p_at_least_ucr, v_free - v_more, a.balance_ucr, a.account_id, NULL, NULL);
END
$$;
