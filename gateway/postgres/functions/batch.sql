-- One statement for whatever an organisation has waiting.

-- Lock order, here and everywhere: fence, idempotency key, accounts by id, budgets by id, reservations, grants. Whoever
-- finds a lock taken for a second goes back into line, so that one organisation's trouble does not keep a lane from the
-- others.
CREATE OR REPLACE FUNCTION post_batch(p_org uuid, p_instance uuid, p_receivable_max bigint, p_settlements settlement_item[],
                                      p_extensions extension_item[], p_wishes wish_item[],
                                      OUT settlements settlement_answer[], OUT extensions hold_answer[], OUT wishes hold_answer[])
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET lock_timeout = '1s' AS $$
DECLARE
    c_fenced CONSTANT hold_answer := ROW('fenced', 0, 0, 0, NULL, NULL, NULL);
    v_done   record;
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
    v_done := run_batch(p_org, NULL, p_instance, p_receivable_max, p_settlements, p_extensions, p_wishes);
    settlements := v_done.settlements;
    extensions := coalesce(v_done.extensions, extensions);
    wishes := coalesce(v_done.wishes, wishes);
END
$$;


-- Settlements first: they free credits. Then extensions, because those calls are under way. Then new reservations. The
-- accounts and the budgets' periods are read once, under their locks, handed from step to step, and written once: what a
-- batch costs before its first item is the number of its statements.
-- The planner's settings are for plans made while tables are empty and kept when they are not; the steps inherit them.
CREATE OR REPLACE FUNCTION run_batch(p_org uuid, p_owner_kind text, p_owner uuid, p_receivable_max bigint,
                                     p_settlements settlement_item[], p_extensions extension_item[], p_wishes wish_item[],
                                     OUT settlements settlement_answer[], OUT extensions hold_answer[], OUT wishes hold_answer[])
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_locked record := lock_for_batch(p_org, p_settlements, p_extensions, p_wishes);
    v_now    timestamptz := clock_timestamp();
    v_books  account[] := v_locked.books;
    v_rooms  budget_room[] := v_locked.rooms;
    v_done   record;
BEGIN
    FOR i IN 1 .. cardinality(v_books) LOOP
        IF v_books[i].next_change_at <= v_now THEN
            v_books[i] := bring_up_to(v_books[i], v_now);
        END IF;
    END LOOP;
    IF cardinality(p_settlements) > 0 THEN
        v_done := settle_batch(p_org, p_receivable_max, v_now, p_settlements, v_locked.opened, v_books, v_rooms);
        v_books := v_done.books;
        v_rooms := v_done.rooms;
        settlements := v_done.answers;
    END IF;
    IF cardinality(p_extensions) > 0 THEN
        v_done := extend_batch(p_extensions, v_books, v_rooms);
        v_books := v_done.books;
        v_rooms := v_done.rooms;
        extensions := v_done.answers;
    END IF;
    IF cardinality(p_wishes) > 0 THEN
        v_done := reserve_batch(p_org, p_owner_kind, p_owner, v_now, p_wishes, v_books, v_rooms);
        v_books := v_done.books;
        v_rooms := v_done.rooms;
        wishes := v_done.answers;
    END IF;
    FOR i IN 1 .. cardinality(v_books) LOOP
        IF v_books[i] <> v_locked.books[i] THEN
            PERFORM save_account(v_books[i]);
        END IF;
    END LOOP;
    IF v_rooms <> v_locked.rooms THEN
        UPDATE budget_period AS p
           SET used_ucr = r.used_ucr, held_ucr = r.held_ucr, open_count = r.open_count
          FROM unnest(v_rooms) AS r
         WHERE p.org_id = p_org AND p.id = r.id
           AND (p.used_ucr, p.held_ucr, p.open_count) <> (r.used_ucr, r.held_ucr, r.open_count);
    END IF;
END
$$;


-- Everything that the steps of a batch will touch, at once and in order: each step locking its own would not be in order.
-- books: the accounts. opened: the open reservations that are to be settled or extended. rooms: the budget periods that
-- those are held in, and those that the wishes fall under.
CREATE OR REPLACE FUNCTION lock_for_batch(p_org uuid, p_settlements settlement_item[], p_extensions extension_item[],
                                          p_wishes wish_item[], OUT books account[], OUT opened reservation[], OUT rooms budget_room[])
LANGUAGE plpgsql AS $$
BEGIN
    books := ARRAY(
        SELECT a FROM account AS a
         WHERE org_id = p_org
           AND account_id = ANY (ARRAY(SELECT unnest(account_id || other_accounts) FROM unnest(p_settlements)
                                        UNION SELECT account_id FROM unnest(p_extensions)
                                        UNION SELECT unnest(account_ids) FROM unnest(p_wishes)))
         ORDER BY account_id FOR NO KEY UPDATE);
    IF cardinality(p_settlements) + cardinality(p_extensions) > 0 THEN
        opened := ARRAY(
            SELECT r.row
              FROM (SELECT id FROM unnest(p_settlements) UNION SELECT id FROM unnest(p_extensions)) AS u
             CROSS JOIN LATERAL (SELECT o AS row FROM reservation o WHERE o.org_id = p_org AND o.id = u.id OFFSET 0) AS r);
    END IF;
    rooms := lock_budgets(p_org, opened, p_wishes);
END
$$;


-- A session's first batch compiles these functions and plans their statements, which takes as long as twenty batches. So a
-- session rehearses, with credits that nobody will have seen: all of it is undone before it returns.
CREATE OR REPLACE FUNCTION rehearse_batch() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- Before all others in the indexes: beside what it leaves there a page would be split in halves, not filled.
    v_org      uuid := overlay(gen_random_uuid()::text PLACING '00000000' FROM 1)::uuid;
    v_instance uuid := (SELECT instance_id FROM fence WHERE fenced_at IS NULL LIMIT 1);
    v_wishes   wish_item[];
    v_endings  settlement_item[] := '{}';
    x          extension_item;
BEGIN
    INSERT INTO account (org_id, account_id, balance_ucr, granted_ucr, version) VALUES (v_org, v_org, 1000000, 1000000, 1);
    INSERT INTO credit_grant (org_id, id, account_id, kind, category, amount_ucr, remaining_ucr, effective_at, activated_at)
    VALUES (v_org, gen_random_uuid(), v_org, 'prepaid', 'paid', 1000000, 1000000, clock_timestamp(), clock_timestamp());
    INSERT INTO budget (org_id, budget_id, scope, period, max_ucr) VALUES (v_org, gen_random_uuid(), 'org', 'month', 1000000);
    -- The first is no small part of the credits, the second and third are of one call, then of two: each has its own steps.
    FOR n IN 1 .. 3 LOOP
        v_wishes := ARRAY(SELECT plain_wish(new_ledger_id(clock_timestamp()), ARRAY[v_org], CASE n WHEN 1 THEN 100000 ELSE 10 END, NULL,
                                      NULL, '', '', NULL)
                            FROM generate_series(1, 1 + cardinality(v_endings)));
        x.id := v_wishes[1].id;
        x.account_id := v_org;
        x.at_least_ucr := 100001;
        PERFORM post_batch(v_org, v_instance, 0, v_endings, '{}', v_wishes);
        PERFORM post_batch(v_org, v_instance, 0, '{}', ARRAY[x], '{}');
        v_endings := ARRAY(SELECT plain_ending(u.id, v_org, 'ok', plainly_used(5, 'rehearsed'), false, NULL, NULL, '', '')
                             FROM unnest(v_wishes) AS u);
    END LOOP;
    RAISE EXCEPTION USING ERRCODE = 'TG001';
EXCEPTION
    WHEN SQLSTATE 'TG001' THEN NULL;
END
$$;
