-- Work that outlives the request that ordered it. It owns reservations and lives for a bounded time.

CREATE OR REPLACE FUNCTION open_job(p_org uuid, p_id uuid, p_kind text, p_detail jsonb, p_life_s double precision, OUT status text,
                         OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    j     job;
BEGIN
    INSERT INTO job (org_id, id, kind, detail, created_at, expires_at)
    VALUES (p_org, p_id, p_kind, p_detail, v_now, v_now + make_interval(secs => p_life_s))
        ON CONFLICT DO NOTHING;
    status := CASE WHEN FOUND THEN 'ok' ELSE 'exists' END;
    SELECT * INTO j FROM job WHERE org_id = p_org AND id = p_id;
    answer := jsonb_build_object('id', j.id, 'kind', j.kind, 'created_at', j.created_at, 'expires_at', j.expires_at, 'ended_at', j.ended_at);
    IF j.kind <> p_kind OR j.detail <> p_detail THEN
        status := 'conflict';
    END IF;
END
$$;


-- From here on it reserves nothing more; what it still has open is ended by whoever calls this, account by account. Again
-- changes nothing. NULL: there is no such job.
CREATE OR REPLACE FUNCTION end_job(p_org uuid, p_id uuid) RETURNS timestamptz LANGUAGE sql AS $$
    UPDATE job SET ended_at = coalesce(ended_at, clock_timestamp()) WHERE org_id = p_org AND id = p_id RETURNING ended_at
$$;
