-- The ledger's months.

-- Makes the month's partition unless it is there. Runs as the schema's owner, because the application's role may not
-- create tables, and leaves that role with INSERT and SELECT alone.
CREATE OR REPLACE FUNCTION make_ledger_month(p_day date) RETURNS boolean
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

-- Whoever replaces the functions also makes the months that the ledger needs now.
SELECT make_ledger_month((now() AT TIME ZONE 'UTC' + make_interval(months => ahead))::date) FROM generate_series(0, 3) AS ahead;
