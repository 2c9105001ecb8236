-- Changing what is charged. All changes wait for one row, which counts them; every process is told of each.

-- Whose entries in the audit log and whose idempotency keys these are: nobody's but the operator's.
CREATE OR REPLACE FUNCTION operators_org() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT '00000000-0000-0000-0000-000000000000'::uuid
$$;


CREATE OR REPLACE FUNCTION next_price_revision() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_revision bigint;
BEGIN
    UPDATE price_revision SET revision = revision + 1 RETURNING revision INTO v_revision;
    PERFORM pg_notify('tollgate_prices', v_revision::text);
    RETURN v_revision;
END
$$;


-- p_if_match NULL: whatever is there; 0: something must be; else the revision that the asker has seen.
CREATE OR REPLACE FUNCTION is_what_was_seen(p_revision bigint, p_if_match bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_if_match IS NULL THEN true WHEN p_revision IS NULL THEN false ELSE p_if_match IN (0, p_revision) END
$$;


CREATE OR REPLACE FUNCTION price_answer(p price, p_revision bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT to_jsonb(p) || jsonb_build_object('revision', p_revision)
$$;


-- Lets a price begin at an instant. What held then ends there, and goes on where the new one ends before it would have;
-- one that was planned for the very instant is replaced; one that is planned for later begins as planned.
CREATE OR REPLACE FUNCTION write_price(p_new price, p_revision bigint) RETURNS price LANGUAGE plpgsql AS $$
DECLARE
    v_held price;
    v_next timestamptz;
BEGIN
    DELETE FROM price WHERE provider = p_new.provider AND model = p_new.model AND effective_from = p_new.effective_from
    RETURNING * INTO v_held;
    IF NOT FOUND THEN
        SELECT * INTO v_held FROM price
         WHERE provider = p_new.provider AND model = p_new.model AND effective_from < p_new.effective_from
           AND (effective_until IS NULL OR effective_until > p_new.effective_from);
        UPDATE price SET effective_until = p_new.effective_from WHERE price_id = v_held.price_id;
    END IF;
    SELECT min(effective_from) INTO v_next FROM price
     WHERE provider = p_new.provider AND model = p_new.model AND effective_from > p_new.effective_from;
    p_new.effective_until := least(p_new.effective_until, v_next);
    INSERT INTO price SELECT p_new.*;
    IF v_held.price_id IS NOT NULL AND p_new.effective_until < coalesce(v_held.effective_until, v_next, 'infinity')
       AND p_new.effective_until < coalesce(v_next, 'infinity') THEN
        v_held.price_id := new_ledger_id(p_new.created_at);
        v_held.effective_from := p_new.effective_until;
        INSERT INTO price SELECT v_held.*;
    END IF;
    INSERT INTO price_model (provider, model, revision) VALUES (p_new.provider, p_new.model, p_revision)
    ON CONFLICT (provider, model) DO UPDATE SET revision = excluded.revision;
    RETURN p_new;
END
$$;


-- p_from NULL: now.
-- Statuses: ok · changed (revision) · past · full
CREATE OR REPLACE FUNCTION set_price(p_id uuid, p_provider text, p_model text, p_is_default boolean, p_tariff jsonb, p_from timestamptz,
                          p_until timestamptz, p_rows_max bigint, p_if_match bigint, p_by origin,
                          OUT status text, OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_revision bigint;
    v_seen     bigint;
    v_before   price;
    v_made     price;
    v_now      timestamptz;
BEGIN
    PERFORM FROM price_revision FOR UPDATE;
    v_now := clock_timestamp();
    SELECT revision INTO v_seen FROM price_model WHERE provider = p_provider AND model = p_model;
    status := CASE WHEN NOT is_what_was_seen(v_seen, p_if_match) THEN 'changed'
                   WHEN p_from < v_now OR p_until <= coalesce(p_from, v_now) THEN 'past'
                   WHEN (SELECT count(*) FROM price WHERE effective_until IS NULL OR effective_until > v_now) >= p_rows_max
                        THEN 'full' END;
    IF status IS NOT NULL THEN
        answer := jsonb_build_object('revision', v_seen);
        RETURN;
    END IF;
    SELECT * INTO v_before FROM price
     WHERE provider = p_provider AND model = p_model AND effective_from <= coalesce(p_from, v_now)
       AND (effective_until IS NULL OR effective_until > coalesce(p_from, v_now));
    v_revision := next_price_revision();
    v_made := write_price(ROW(p_id, p_provider, p_model, p_is_default, p_tariff, coalesce(p_from, v_now), p_until, 'api', p_by.actor,
                              v_now)::price, v_revision);
    PERFORM write_audit_log(operators_org(), p_by, 'price.set', 'price', p_id,
                            CASE WHEN v_before.price_id IS NOT NULL THEN to_jsonb(v_before) END, to_jsonb(v_made));
    status := 'ok';
    answer := price_answer(v_made, v_revision);
END
$$;


-- From p_at on (NULL: now) the model has no price of its own here; what was planned for later is withdrawn.
-- Statuses: ok · changed · past · no_price
CREATE OR REPLACE FUNCTION end_price(p_provider text, p_model text, p_at timestamptz, p_if_match bigint, p_by origin,
                          OUT status text, OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_now  timestamptz;
    v_at   timestamptz;
    v_seen bigint;
    p      price;
BEGIN
    PERFORM FROM price_revision FOR UPDATE;
    v_now := clock_timestamp();
    v_at := coalesce(p_at, v_now);
    SELECT revision INTO v_seen FROM price_model WHERE provider = p_provider AND model = p_model;
    status := CASE WHEN v_at < v_now THEN 'past'
                   WHEN NOT EXISTS (SELECT FROM price WHERE provider = p_provider AND model = p_model
                                       AND (effective_until IS NULL OR effective_until > v_at)) THEN 'no_price'
                   WHEN NOT is_what_was_seen(v_seen, p_if_match) THEN 'changed' END;
    IF status IS NOT NULL THEN
        RETURN;
    END IF;
    UPDATE price_model SET revision = next_price_revision() WHERE provider = p_provider AND model = p_model;
    FOR p IN
        SELECT * FROM price WHERE provider = p_provider AND model = p_model AND (effective_until IS NULL OR effective_until > v_at)
         ORDER BY effective_from
    LOOP
        IF p.effective_from < v_at THEN
            UPDATE price SET effective_until = v_at WHERE price_id = p.price_id;
        ELSE
            DELETE FROM price WHERE price_id = p.price_id;
        END IF;
        PERFORM write_audit_log(operators_org(), p_by, CASE WHEN p.effective_from < v_at THEN 'price.ended' ELSE 'price.withdrawn' END,
                                'price', p.price_id, to_jsonb(p), NULL);
    END LOOP;
    status := 'ok';
    answer := jsonb_build_object('provider', p_provider, 'model', p_model, 'ended_at', v_at);
END
$$;


-- A set's prices for the models that have none here, now or planned; p_replace: for all of them.
-- p_prices: [{price_id, provider, model, is_default, tariff}, …]. Statuses: ok · full
CREATE OR REPLACE FUNCTION initialize_prices(p_set text, p_prices jsonb, p_replace boolean, p_rows_max bigint, p_by origin,
                                  OUT status text, OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_now      timestamptz;
    v_revision bigint;
    v_made     price;
    v_written  text[] := '{}';
    v_kept     text[] := '{}';
    n          record;
BEGIN
    PERFORM FROM price_revision FOR UPDATE;
    v_now := clock_timestamp();
    IF (SELECT count(*) FROM price WHERE effective_until IS NULL OR effective_until > v_now) + jsonb_array_length(p_prices) > p_rows_max THEN
        status := 'full';
        RETURN;
    END IF;
    FOR n IN SELECT * FROM jsonb_to_recordset(p_prices) AS r (price_id uuid, provider text, model text, is_default boolean, tariff jsonb) LOOP
        IF NOT p_replace AND EXISTS (SELECT FROM price p WHERE p.provider = n.provider AND p.model = n.model
                                        AND (p.effective_until IS NULL OR p.effective_until > v_now)) THEN
            v_kept := v_kept || (n.provider || '/' || n.model);
            CONTINUE;
        END IF;
        v_revision := coalesce(v_revision, next_price_revision());
        v_made := write_price(ROW(n.price_id, n.provider, n.model, n.is_default, n.tariff, v_now, NULL, 'set:' || p_set, p_by.actor,
                                  v_now)::price, v_revision);
        v_written := v_written || (n.provider || '/' || n.model);
        PERFORM write_audit_log(operators_org(), p_by, 'price.initialized', 'price', n.price_id, NULL, to_jsonb(v_made));
    END LOOP;
    status := 'ok';
    answer := jsonb_build_object('set', p_set, 'written', v_written, 'kept', v_kept);
END
$$;


-- p_basis_points NULL: none of its own any more. Statuses: ok · changed · no_org
CREATE OR REPLACE FUNCTION set_markup(p_scope text, p_scope_id text, p_basis_points integer, p_if_match bigint, p_by origin,
                           OUT status text, OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    -- Whom it is for; in the log it is the operator's own, whoever that is, since nobody else sees mark-ups.
    v_org    uuid := CASE p_scope WHEN 'org' THEN p_scope_id::uuid ELSE operators_org() END;
    v_before markup;
    v_after  markup;
BEGIN
    PERFORM FROM price_revision FOR UPDATE;
    SELECT * INTO v_before FROM markup WHERE scope = p_scope AND scope_id = p_scope_id;
    status := CASE WHEN p_scope = 'org' AND NOT EXISTS (SELECT FROM org WHERE org_id = v_org) THEN 'no_org'
                   WHEN NOT is_what_was_seen(v_before.revision, p_if_match) THEN 'changed' END;
    IF status IS NOT NULL THEN
        RETURN;
    END IF;
    DELETE FROM markup WHERE scope = p_scope AND scope_id = p_scope_id;
    IF p_basis_points IS NOT NULL THEN
        INSERT INTO markup (scope, scope_id, basis_points, revision, actor, changed_at)
        VALUES (p_scope, p_scope_id, p_basis_points, next_price_revision(), p_by.actor, clock_timestamp())
        RETURNING * INTO v_after;
    ELSIF v_before.scope IS NOT NULL THEN
        PERFORM next_price_revision();
    END IF;
    IF v_before.basis_points IS DISTINCT FROM p_basis_points THEN
        PERFORM write_audit_log(operators_org(), p_by, 'markup.set', 'markup', v_org,
                                jsonb_build_object('scope', p_scope, 'scope_id', p_scope_id, 'basis_points', v_before.basis_points),
                                jsonb_build_object('scope', p_scope, 'scope_id', p_scope_id, 'basis_points', p_basis_points));
    END IF;
    status := 'ok';
    answer := jsonb_build_object('scope', p_scope, 'scope_id', p_scope_id, 'basis_points', p_basis_points,
                                 'revision', v_after.revision, 'changed_at', v_after.changed_at);
END
$$;


-- Takes in at most p_versions_max further versions of the account; false: there were fewer, all is in. A call counts in
-- the month in which it was settled, by the organisation's clocks. Its tokens stand in one row: its ending, or the late
-- correction, dearer or cheaper, of one that a sweeper wrote.
CREATE OR REPLACE FUNCTION roll_up_model_months(p_org uuid, p_account uuid, p_versions_max bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_zone text := coalesce((SELECT time_zone FROM credit_policy WHERE org_id = p_org), 'UTC');
    v_from bigint;
    v_to   bigint;
BEGIN
    INSERT INTO model_month_progress (org_id, account_id, version) VALUES (p_org, p_account, 0) ON CONFLICT DO NOTHING;
    SELECT version INTO v_from FROM model_month_progress WHERE org_id = p_org AND account_id = p_account FOR UPDATE;
    SELECT least(version, v_from + p_versions_max) INTO v_to FROM account WHERE org_id = p_org AND account_id = p_account;
    IF v_to IS NULL OR v_to = v_from THEN
        RETURN false;
    END IF;
    INSERT INTO model_month (org_id, month, upstream, upstream_model, tokens)
    SELECT p_org, date_trunc('month', created_at AT TIME ZONE v_zone)::date AS month, upstream,
           coalesce(nullif(upstream_model, ''), model) AS called, sum(coalesce(prompt_tokens, 0)::bigint + coalesce(output_tokens, 0))
      FROM ledger
     WHERE org_id = p_org AND account_id = p_account AND version > v_from AND version <= v_to
       AND upstream <> '' AND coalesce(nullif(upstream_model, ''), model) <> ''
     GROUP BY month, upstream, called
     ORDER BY month, upstream, called
    ON CONFLICT (org_id, month, upstream, upstream_model) DO UPDATE SET tokens = model_month.tokens + excluded.tokens;
    UPDATE model_month_progress SET version = v_to WHERE org_id = p_org AND account_id = p_account;
    RETURN v_to = v_from + p_versions_max;
END
$$;
