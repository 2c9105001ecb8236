-- Budgets: caps on what calls may cost in a calendar period of the organisation's, and on how many may be open.

CREATE OR REPLACE FUNCTION falls_under(w wish_item, p_scope text, p_scope_id text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_scope
        WHEN 'org' THEN true
        WHEN 'key' THEN w.key_id::text = p_scope_id
        WHEN 'user' THEN w.user_id::text = p_scope_id
        WHEN 'model' THEN w.model = p_scope_id
        WHEN 'feature' THEN w.feature = p_scope_id
    END IS TRUE
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
-- under; returns the latter's ids. The accounts are locked already, so the reservations stand still.
CREATE OR REPLACE FUNCTION lock_budgets(p_org uuid, p_open uuid[], p_wishes wish_item[]) RETURNS integer[]
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now     timestamptz := clock_timestamp();
    v_budgets uuid[];
    v_without uuid[];
    v_held_in integer[];
    v_periods integer[];
BEGIN
    IF NOT EXISTS (SELECT FROM budget WHERE org_id = p_org) THEN
        RETURN NULL;
    END IF;
    IF cardinality(p_wishes) > 0 THEN
        SELECT array_agg(b.budget_id),
               array_agg(b.budget_id) FILTER (WHERE NOT EXISTS (
                   SELECT FROM budget_period p
                    WHERE p.org_id = p_org AND p.budget_id = b.budget_id AND p.period_start <= v_now AND p.period_end > v_now))
          INTO v_budgets, v_without
          FROM (SELECT 'org' AS scope, '' AS scope_id
                UNION SELECT 'key', key_id::text FROM unnest(p_wishes)
                UNION SELECT 'user', user_id::text FROM unnest(p_wishes)
                UNION SELECT 'model', model FROM unnest(p_wishes)
                UNION SELECT 'feature', feature FROM unnest(p_wishes)) AS s
          JOIN budget b ON b.org_id = p_org AND b.scope = s.scope AND b.scope_id = s.scope_id;
        IF v_without IS NOT NULL THEN
            PERFORM open_budget_periods(p_org, v_without, v_now);
        END IF;
        v_periods := ARRAY(SELECT id FROM budget_period
                            WHERE org_id = p_org AND budget_id = ANY (v_budgets) AND period_start <= v_now AND period_end > v_now);
    END IF;
    IF cardinality(p_open) > 0 THEN
        v_held_in := ARRAY(SELECT DISTINCT b FROM reservation r, unnest(r.budgets::integer[]) AS b WHERE r.org_id = p_org AND r.id = ANY (p_open));
    END IF;
    PERFORM FROM budget_period WHERE org_id = p_org AND id = ANY (v_periods || v_held_in) ORDER BY id FOR NO KEY UPDATE;
    RETURN v_periods;
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


-- What is left of locked periods; NULL: there are none.
CREATE OR REPLACE FUNCTION budget_rooms(p_org uuid, p_periods integer[]) RETURNS budget_room[]
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF p_periods IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(
        SELECT ROW(p.id, b.scope, b.scope_id, b.max_ucr, p.used_ucr, b.max_ucr - p.used_ucr - p.held_ucr, b.open_max - p.open_count,
                   nullif(p.period_end, 'infinity'))::budget_room
          FROM budget_period p JOIN budget b ON b.org_id = p.org_id AND b.budget_id = p.budget_id
         WHERE p.org_id = p_org AND p.id = ANY (p_periods)
         ORDER BY p.id);
END
$$;


-- What settled calls leave in the budgets that they were held in. What they cost may pass a maximum: it was spent.
CREATE OR REPLACE FUNCTION book_endings(p_org uuid, p_rows settlement_row[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    UPDATE budget_period AS p
       SET used_ucr = p.used_ucr + b.used, held_ucr = p.held_ucr - b.held, open_count = p.open_count - b.calls
      FROM (SELECT budget, sum(r.charged_ucr + r.overage_ucr) AS used, sum(r.held_ucr) AS held, count(*) AS calls
              FROM unnest(p_rows) AS r, unnest(r.budgets) AS budget
             GROUP BY budget) AS b
     WHERE p.org_id = p_org AND p.id = b.budget;
END
$$;
