-- What an entry says, without what tells who somebody was: for those whose data was erased after it was written. Entries
-- are never changed, so this is done as they are read.
CREATE OR REPLACE FUNCTION without_person(p_told jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT p_told || coalesce((SELECT jsonb_object_agg(name, 'erased') FROM jsonb_each(p_told) AS f (name, value)
                                WHERE name IN ('external_id', 'name', 'email', 'ip_allow') AND value <> 'null'), '{}')
$$;


-- Whether the object is a person whose data was erased, or their key.
CREATE OR REPLACE FUNCTION is_of_erased(p_org uuid, p_object_kind text, p_object uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT CASE p_object_kind
        WHEN 'user' THEN EXISTS (SELECT FROM org_user WHERE org_id = p_org AND user_id = p_object AND erased_at IS NOT NULL)
        WHEN 'key' THEN EXISTS (SELECT FROM api_key k JOIN org_user u ON u.org_id = k.org_id AND u.user_id = k.user_id
                                 WHERE k.org_id = p_org AND k.key_id = p_object AND u.erased_at IS NOT NULL)
        ELSE false END
$$;


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
