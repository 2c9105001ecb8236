-- Budgets: caps on what calls may cost in a calendar period of the organisation's, and on how many may be open.

CREATE OR REPLACE FUNCTION falls_under(w wish_item, r budget_room) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT r.takes_wishes AND CASE r.scope
        WHEN 'org' THEN true
        WHEN 'key' THEN w.key_id::text = r.scope_id
        WHEN 'user' THEN w.user_id::text = r.scope_id
        WHEN 'model' THEN w.model = r.scope_id
        WHEN 'feature' THEN w.feature = r.scope_id
    END IS TRUE
$$;


-- NULL: it caps no credits.
CREATE OR REPLACE FUNCTION room_in(r budget_room) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT r.max_ucr - r.used_ucr - r.held_ucr
$$;


-- The period that an instant falls in begins at midnight of the organisation's zone; weeks begin on Monday.
CREATE OR REPLACE FUNCTION period_start(p_period text, p_at timestamptz, p_zone text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE p_period WHEN 'lifetime' THEN '-infinity' ELSE date_trunc(p_period, p_at, p_zone) END
$$;

CREATE OR REPLACE FUNCTION period_end(p_period text, p_at timestamptz, p_zone text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE p_period WHEN 'lifetime' THEN 'infinity'
                         ELSE (date_trunc(p_period, p_at AT TIME ZONE p_zone) + ('1 ' || p_period)::interval) AT TIME ZONE p_zone END
$$;


-- Opens the period of now for each of these budgets that has none. A period begins where the one before ended, so that a
-- changed zone leaves no gap and no instant twice.
CREATE OR REPLACE FUNCTION open_budget_periods(p_org uuid, p_budgets uuid[], p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_zone text := zone_of(p_org);
BEGIN
    INSERT INTO budget_period (org_id, budget_id, period_start, period_end)
    SELECT p_org, b.budget_id,
           greatest(period_start(b.period, p_now, v_zone),
                    (SELECT max(p.period_end) FROM budget_period p WHERE p.org_id = p_org AND p.budget_id = b.budget_id)),
           period_end(b.period, p_now, v_zone)
      FROM budget b
     WHERE b.org_id = p_org AND b.budget_id = ANY (p_budgets)
     ORDER BY b.budget_id
        ON CONFLICT DO NOTHING;
END
$$;


-- Locks, in the order of their ids, the periods that these open reservations are held in and those that these wishes fall
-- under, and says what they are. The accounts are locked already, so reservations and budgets stand still.
CREATE OR REPLACE FUNCTION lock_budgets(p_org uuid, p_opened reservation[], p_wishes wish_item[]) RETURNS budget_room[]
LANGUAGE plpgsql AS $$
DECLARE
    v_now     timestamptz := clock_timestamp();
    v_without uuid[];
    v_held_in integer[];
    v_periods integer[];
BEGIN
    IF cardinality(p_wishes) > 0 AND EXISTS (SELECT FROM budget WHERE org_id = p_org) THEN
        LOOP
            SELECT array_agg(p.id), array_agg(b.budget_id) FILTER (WHERE p.id IS NULL)
              INTO v_periods, v_without
              FROM (SELECT DISTINCT s.scope, s.scope_id
                      FROM (SELECT DISTINCT key_id, user_id, model, feature FROM unnest(p_wishes)) AS w
                     CROSS JOIN LATERAL (VALUES ('org', ''), ('key', key_id::text), ('user', user_id::text), ('model', model),
                                                ('feature', feature)) AS s (scope, scope_id)) AS s
              JOIN budget b ON b.org_id = p_org AND b.scope = s.scope AND b.scope_id = s.scope_id
              LEFT JOIN budget_period p
                     ON p.org_id = p_org AND p.budget_id = b.budget_id AND p.period_start <= v_now AND p.period_end > v_now;
            EXIT WHEN v_without IS NULL;
            PERFORM open_budget_periods(p_org, v_without, v_now);
        END LOOP;
    END IF;
    IF cardinality(p_opened) > 0 THEN
        v_held_in := ARRAY(SELECT unnest(budgets::integer[]) FROM (SELECT DISTINCT budgets FROM unnest(p_opened)) AS r);
    END IF;
    IF v_periods IS NULL AND coalesce(v_held_in, '{}') = '{}' THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT ROW(p.id, b.scope, b.scope_id, b.max_ucr, b.open_max, p.used_ucr, p.held_ucr, p.open_count,
                   nullif(p.period_end, 'infinity'), p.id = ANY (coalesce(v_periods, '{}')))::budget_room
          FROM budget_period p JOIN budget b ON b.org_id = p.org_id AND b.budget_id = p.budget_id
         WHERE p.org_id = p_org AND p.id = ANY (v_periods || v_held_in)
         ORDER BY p.id FOR NO KEY UPDATE OF p);
END
$$;


-- Makes or changes a budget, of which a scope has one for each period; returns its id, which stays the first one's. NULL:
-- there is no such organisation.
CREATE OR REPLACE FUNCTION set_budget(p_org uuid, p_budget uuid, p_scope text, p_scope_id text, p_period text, p_max bigint,
                                      p_open_max integer, p_alerts smallint[], p_by origin) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    v_before budget;
    v_after  budget;
BEGIN
    IF NOT lock_pool(p_org) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO v_before FROM budget WHERE org_id = p_org AND scope = p_scope AND scope_id = p_scope_id AND period = p_period;
    INSERT INTO budget (org_id, budget_id, scope, scope_id, period, max_ucr, open_max, alert_percents)
    VALUES (p_org, p_budget, p_scope, p_scope_id, p_period, p_max, p_open_max, p_alerts)
        ON CONFLICT ON CONSTRAINT budget_once
        DO UPDATE SET max_ucr = excluded.max_ucr, open_max = excluded.open_max, alert_percents = excluded.alert_percents
    RETURNING * INTO v_after;
    IF v_after IS DISTINCT FROM v_before THEN
        PERFORM write_audit_log(p_org, p_by, 'budget.set', 'budget', v_after.budget_id,
                                CASE WHEN v_before.budget_id IS NOT NULL THEN budget_terms(v_before) END, budget_terms(v_after));
    END IF;
    RETURN v_after.budget_id;
END
$$;


-- NULL: there is none. Its periods go with it.
CREATE OR REPLACE FUNCTION remove_budget(p_org uuid, p_budget uuid, p_by origin) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_before budget;
BEGIN
    PERFORM lock_pool(p_org);
    DELETE FROM budget WHERE org_id = p_org AND budget_id = p_budget RETURNING * INTO v_before;
    IF FOUND THEN
        PERFORM write_audit_log(p_org, p_by, 'budget.removed', 'budget', p_budget, budget_terms(v_before), NULL);
    END IF;
    RETURN v_before.budget_id;
END
$$;


CREATE OR REPLACE FUNCTION budget_terms(b budget) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT to_jsonb(b) - ARRAY['org_id', 'budget_id', 'created_at']
$$;


-- What settled calls leave in the budgets that they were held in. What they cost may pass a maximum: it was spent.
CREATE OR REPLACE FUNCTION book_endings(p_rooms budget_room[], p_rows settlement_row[]) RETURNS budget_room[]
LANGUAGE plpgsql AS $$
BEGIN
    RETURN ARRAY(
        SELECT ROW(r.id, r.scope, r.scope_id, r.max_ucr, r.open_max, r.used_ucr + coalesce(b.used, 0), r.held_ucr - coalesce(b.held, 0),
                   r.open_count - coalesce(b.calls, 0), r.resets_at, r.takes_wishes)::budget_room
          FROM unnest(p_rooms) AS r
          LEFT JOIN (SELECT unnest(budgets) AS id, sum(used) AS used, sum(held) AS held, sum(calls) AS calls
                       FROM (SELECT budgets, sum(charged_ucr + overage_ucr) AS used, sum(held_ucr) AS held, count(*) AS calls
                               FROM unnest(p_rows) WHERE budgets IS NOT NULL GROUP BY budgets) AS e
                      GROUP BY 1) AS b ON b.id = r.id
         ORDER BY r.id);
END
$$;
