-- The audit log's chain: each entry's hash over its content and the hash before, so that nothing can be changed, removed,
-- put in or moved without every hash after it being wrong.

-- SHA-256 of the entry's fields as one JSON array, written as jsonb is: in the order below, instants in UTC with microseconds.
CREATE OR REPLACE FUNCTION audit_content_hash(e audit_log) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        e.org_id, e.id, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.actor, e.address, e.action,
        e.object_kind, e.object_id, e.before, e.after, e.reason, e.request_id)::text, 'UTF8'))
$$;


-- Chains at most p_max of what waits; how many it chained. Whoever comes while another is at it waits, and then sees only
-- what that one left.
CREATE OR REPLACE FUNCTION chain_audit_log(p_max integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_chain audit_chain;
    v_count integer := 0;
    v_hash  bytea;
    e       audit_log;
BEGIN
    SELECT * INTO STRICT v_chain FROM audit_chain FOR UPDATE;
    FOR e IN
        SELECT l.* FROM audit_waiting w JOIN audit_log l ON l.org_id = w.org_id AND l.id = w.id
         ORDER BY w.id, w.org_id LIMIT p_max
    LOOP
        v_hash := audit_content_hash(e);
        v_chain.position := v_chain.position + 1;
        v_chain.hash := sha256(v_chain.hash || v_hash);
        INSERT INTO audit_link (position, org_id, id, content_hash, hash)
        VALUES (v_chain.position, e.org_id, e.id, v_hash, v_chain.hash);
        DELETE FROM audit_waiting WHERE org_id = e.org_id AND id = e.id;
        v_count := v_count + 1;
    END LOOP;
    UPDATE audit_chain SET position = v_chain.position, hash = v_chain.hash WHERE v_count > 0;
    RETURN v_count;
END
$$;
