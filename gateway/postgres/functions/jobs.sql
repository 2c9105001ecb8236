-- Work that outlives the request that ordered it. It owns reservations and lives for a bounded time.

CREATE OR REPLACE FUNCTION job_answer(j job) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', j.id, 'kind', j.kind, 'created_at', j.created_at, 'expires_at', j.expires_at, 'ended_at', j.ended_at)
$$;


-- p_for: who may look at it and end it; NULL: the gateway alone. Statuses: ok · exists · conflict (the id is another's, or this
-- one's with other facts) · too_many (p_for has p_most open; those that are opened at the same instant may pass it).
CREATE OR REPLACE FUNCTION open_job(p_org uuid, p_id uuid, p_kind text, p_detail jsonb, p_life_s double precision, p_for uuid,
                         p_most bigint, p_by origin, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    j     job;
BEGIN
    IF (SELECT count(*) FROM (SELECT FROM job o WHERE o.org_id = p_org AND o.opened_for = p_for AND o.ended_at IS NULL LIMIT p_most) AS o)
       >= p_most THEN
        status := 'too_many';
        RETURN;
    END IF;
    INSERT INTO job (org_id, id, kind, detail, opened_for, created_at, expires_at)
    VALUES (p_org, p_id, p_kind, p_detail, p_for, v_now, v_now + make_interval(secs => p_life_s))
        ON CONFLICT DO NOTHING
    RETURNING * INTO j;
    status := CASE WHEN FOUND THEN 'ok' ELSE 'exists' END;
    IF status = 'ok' THEN
        PERFORM write_audit_log(p_org, p_by, 'job.opened', 'job', p_id, NULL,
                                jsonb_build_object('kind', j.kind, 'expires_at', j.expires_at));
    ELSE
        SELECT * INTO j FROM job WHERE org_id = p_org AND id = p_id;
        IF j.kind <> p_kind OR j.detail <> p_detail OR j.opened_for IS DISTINCT FROM p_for THEN
            status := 'conflict';
        END IF;
    END IF;
    answer := job_answer(j);
END
$$;


-- From here on it reserves nothing more; what it still has open is ended by whoever calls this, account by account. Again
-- changes nothing. p_for as in open_job; NULL: whoever it was opened for. Statuses: ok · exists (it had ended) · missing.
CREATE OR REPLACE FUNCTION end_job(p_org uuid, p_id uuid, p_for uuid, p_by origin, OUT status text, OUT answer jsonb) LANGUAGE plpgsql AS $$
DECLARE
    j job;
BEGIN
    SELECT * INTO j FROM job o WHERE o.org_id = p_org AND o.id = p_id AND (p_for IS NULL OR o.opened_for = p_for) FOR NO KEY UPDATE;
    status := CASE WHEN j.id IS NULL THEN 'missing' WHEN j.ended_at IS NOT NULL THEN 'exists' ELSE 'ok' END;
    IF status = 'ok' THEN
        UPDATE job SET ended_at = clock_timestamp() WHERE org_id = p_org AND id = p_id RETURNING * INTO j;
        PERFORM write_audit_log(p_org, p_by, 'job.ended', 'job', p_id, NULL, jsonb_build_object('ended_at', j.ended_at));
    END IF;
    answer := job_answer(j);
END
$$;
