-- One entry of the audit log, in the transaction of what it tells of. Returns the entry's id.
CREATE OR REPLACE FUNCTION write_audit_log(p_org uuid, p_by origin, p_action text, p_object_kind text, p_object uuid, p_before jsonb,
                                p_after jsonb) RETURNS uuid
LANGUAGE sql AS $$
    INSERT INTO audit_log (org_id, id, at, actor, address, action, object_kind, object_id, before, after, reason, request_id)
    SELECT p_org, new_ledger_id(n.now), n.now, (p_by).actor, coalesce((p_by).address, ''), p_action, p_object_kind, p_object,
           p_before, p_after, coalesce((p_by).reason, ''), (p_by).request_id
      FROM (SELECT clock_timestamp() AS now) AS n
    RETURNING id
$$;
