-- What tells who a user is, replaced for good. Amounts stay, under an id that says nothing.

-- Keys are revoked, for their text may lie anywhere. Returns NULL where there is no such user; again changes nothing.
CREATE OR REPLACE FUNCTION erase_user(p_org uuid, p_user uuid, p_by origin) RETURNS org_user LANGUAGE plpgsql AS $$
DECLARE
    v_user org_user;
    v_keys integer;
    v_name text := 'erased:' || p_user;
    k      record;
BEGIN
    PERFORM FROM account WHERE org_id = p_org AND account_id = p_user FOR NO KEY UPDATE;
    -- So strong a lock that nobody gives the user another key meanwhile.
    SELECT * INTO v_user FROM org_user WHERE org_id = p_org AND user_id = p_user FOR UPDATE;
    IF NOT FOUND OR v_user.erased_at IS NOT NULL THEN
        RETURN v_user;
    END IF;
    FOR k IN
        UPDATE api_key SET revoked_at = clock_timestamp()
         WHERE org_id = p_org AND user_id = p_user AND revoked_at IS NULL
        RETURNING key_id, revoked_at
    LOOP
        PERFORM write_audit_log(p_org, p_by, 'key.revoked', 'key', k.key_id, NULL, jsonb_build_object('revoked_at', k.revoked_at));
    END LOOP;
    UPDATE api_key SET name = 'erased', ip_allow = NULL, version = version + 1 WHERE org_id = p_org AND user_id = p_user;
    GET DIAGNOSTICS v_keys = ROW_COUNT;
    IF EXISTS (SELECT FROM org_user WHERE org_id = p_org AND external_id = v_name) THEN
        -- Somebody was called so before such names were reserved.
        v_name := v_name || ':' || gen_random_uuid();
    END IF;
    UPDATE org_user
       SET external_id = v_name, name = 'erased', email = NULL, status = 'suspended', erased_at = clock_timestamp()
     WHERE org_id = p_org AND user_id = p_user
    RETURNING * INTO v_user;
    -- Their quota brings nothing more, and what is left of it expires.
    PERFORM change_subscription(p_org, p_user, new_ledger_id(clock_timestamp()), 'cancel', NULL, NULL, NULL, false, p_by, NULL);
    PERFORM forget_in_answers(p_org, p_user);
    -- Neither before nor after says what was replaced: the entry stays.
    PERFORM write_audit_log(p_org, p_by, 'user.erased', 'user', p_user, NULL, jsonb_build_object('keys', v_keys));
    RETURN v_user;
END
$$;
