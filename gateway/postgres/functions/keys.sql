-- API keys: made, changed, replaced and revoked. Answers never hold the hash.

CREATE OR REPLACE FUNCTION key_answer(k api_key) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT to_jsonb(k) - 'hash'
$$;

-- What the audit log keeps of a key. Of a user's it keeps neither name nor networks: the entry is there for good, and these may
-- tell whose it was when nothing else does any more.
CREATE OR REPLACE FUNCTION key_terms(k api_key) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT to_jsonb(k) - ARRAY['org_id', 'key_id', 'hash', 'created_at', 'version']
                       - CASE WHEN k.user_id IS NULL THEN '{}'::text[] ELSE ARRAY['name', 'ip_allow'] END
$$;


-- What key_terms does not tell, by the names of what is different.
CREATE OR REPLACE FUNCTION untold_of_key(p_before api_key, p_after api_key) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_after.user_id IS NULL THEN '{}'::jsonb
                ELSE CASE WHEN p_after.name <> p_before.name THEN '{"name_changed": true}'::jsonb ELSE '{}'::jsonb END
                  || CASE WHEN p_after.ip_allow IS DISTINCT FROM p_before.ip_allow THEN '{"ip_allow_changed": true}'::jsonb
                          ELSE '{}'::jsonb END END
$$;


-- Whether the user's data was erased; nobody erases it before this transaction is over. False: no such user.
CREATE OR REPLACE FUNCTION is_erased(p_org uuid, p_user uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_at timestamptz;
BEGIN
    SELECT erased_at INTO v_at FROM org_user WHERE org_id = p_org AND user_id = p_user FOR KEY SHARE;
    RETURN v_at IS NOT NULL;
END
$$;


-- In what the key may more than the one that makes or changes it: kind, expires_at, ip_allow, models. NULL: in nothing, or
-- nobody's key asks (p_maker is NULL).
CREATE OR REPLACE FUNCTION key_exceeds(k api_key, p_maker uuid) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    m api_key;
BEGIN
    IF p_maker IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO STRICT m FROM api_key WHERE org_id = k.org_id AND key_id = p_maker;
    RETURN CASE
        WHEN m.kind <> 'management' AND k.kind <> m.kind THEN 'kind'
        WHEN m.expires_at IS NOT NULL AND coalesce(k.expires_at, 'infinity') > m.expires_at THEN 'expires_at'
        WHEN m.ip_allow IS NOT NULL
            AND (k.ip_allow IS NULL
                 OR EXISTS (SELECT FROM unnest(k.ip_allow) AS one
                             WHERE NOT EXISTS (SELECT FROM unnest(m.ip_allow) AS own WHERE one <<= own))) THEN 'ip_allow'
        WHEN m.models IS NOT NULL AND NOT coalesce(k.models <@ m.models, false) THEN 'models'
    END;
END
$$;


-- Likewise: 'budgets' where the maker has one whose period limits the key less, or not at all.
CREATE OR REPLACE FUNCTION key_budgets_exceed(p_org uuid, p_key uuid, p_maker uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT 'budgets'
     WHERE EXISTS (SELECT FROM budget own
                     LEFT JOIN budget b ON b.org_id = own.org_id AND b.scope = 'key' AND b.scope_id = p_key::text AND b.period = own.period
                    WHERE own.org_id = p_org AND own.scope = 'key' AND own.scope_id = p_maker::text
                      AND (coalesce(b.max_ucr > own.max_ucr, own.max_ucr IS NOT NULL)
                           OR coalesce(b.open_max > own.open_max, own.open_max IS NOT NULL)))
$$;


-- What limits one key is set for another, too, which begins it anew. Under the pool's lock. One of p_ids for each period.
CREATE OR REPLACE FUNCTION copy_key_budgets(p_org uuid, p_from uuid, p_to uuid, p_ids uuid[], p_by origin) RETURNS void LANGUAGE sql AS $$
    SELECT set_budget(p_org, b.new_id, 'key', p_to::text, b.period, b.max_ucr, b.open_max, b.alert_percents, p_by)
      FROM (SELECT *, p_ids[row_number() OVER (ORDER BY period)] AS new_id
              FROM budget WHERE org_id = p_org AND scope = 'key' AND scope_id = p_from::text) AS b
$$;


-- p_maker: the key that asks, where one does; it may all that the new one may, and its budgets are set for that, too. Statuses:
-- ok · erased (the user was) · wider (answer: in which field). Raises a foreign_key_violation where there is no such organisation or user.
CREATE OR REPLACE FUNCTION create_api_key(p_org uuid, p_key uuid, p_hash bytea, p_prefix text, p_last_four text, p_name text, p_kind text,
                                          p_models text[], p_ip_allow cidr[], p_user uuid, p_expires_at timestamptz, p_maker uuid,
                                          p_budgets uuid[], p_by origin, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    k api_key;
BEGIN
    k.org_id := p_org;
    k.kind := p_kind;
    k.models := p_models;
    k.ip_allow := p_ip_allow;
    k.expires_at := p_expires_at;
    answer := to_jsonb(key_exceeds(k, p_maker));
    IF answer IS NOT NULL THEN
        status := 'wider';
        RETURN;
    END IF;
    IF p_maker IS NOT NULL THEN
        PERFORM lock_pool(p_org);
    END IF;
    IF is_erased(p_org, p_user) THEN
        status := 'erased';
        RETURN;
    END IF;
    INSERT INTO api_key (org_id, key_id, name, kind, hash, prefix, last_four, models, ip_allow, user_id, expires_at)
    VALUES (p_org, p_key, p_name, p_kind, p_hash, p_prefix, p_last_four, p_models, p_ip_allow, p_user, p_expires_at)
    RETURNING * INTO k;
    PERFORM copy_key_budgets(p_org, p_maker, p_key, p_budgets, p_by);
    PERFORM write_audit_log(p_org, p_by, 'key.created', 'key', p_key, NULL, key_terms(k));
    status := 'ok';
    answer := key_answer(k);
END
$$;


-- Sets what `p_change` names: name, models, ip_allow, expires_at. Only a key of one of `p_versions` is changed, where they
-- are given. What is so already leaves no entry and no new version. p_maker: as in create_api_key; it may all that the key may
-- afterwards. Statuses: ok · missing · revoked · changed (answer: the version it has) · wider.
CREATE OR REPLACE FUNCTION change_api_key(p_org uuid, p_key uuid, p_change jsonb, p_versions bigint[], p_maker uuid, p_by origin,
                                          OUT status text, OUT answer jsonb, OUT hash bytea)
LANGUAGE plpgsql AS $$
DECLARE
    v_before api_key;
    v_after  api_key;
BEGIN
    SELECT * INTO v_before FROM api_key WHERE org_id = p_org AND key_id = p_key FOR NO KEY UPDATE;
    status := CASE WHEN v_before.key_id IS NULL THEN 'missing'
                   WHEN v_before.version <> ALL (p_versions) THEN 'changed'
                   WHEN v_before.revoked_at IS NOT NULL THEN 'revoked' END;
    IF status IS NOT NULL THEN
        answer := CASE WHEN status = 'changed' THEN to_jsonb(v_before.version) END;
        RETURN;
    END IF;
    v_after := jsonb_populate_record(v_before, p_change);
    answer := to_jsonb(coalesce(key_exceeds(v_after, p_maker), key_budgets_exceed(p_org, p_key, p_maker)));
    IF answer IS NOT NULL THEN
        status := 'wider';
        RETURN;
    END IF;
    IF v_after IS DISTINCT FROM v_before THEN
        UPDATE api_key
           SET name = v_after.name, models = v_after.models, ip_allow = v_after.ip_allow, expires_at = v_after.expires_at,
               version = version + 1
         WHERE org_id = p_org AND key_id = p_key
        RETURNING * INTO v_after;
        PERFORM write_audit_log(p_org, p_by, 'key.changed', 'key', p_key, key_terms(v_before),
                                key_terms(v_after) || untold_of_key(v_before, v_after));
    END IF;
    status := 'ok';
    answer := key_answer(v_after);
    hash := v_after.hash;
END
$$;


-- A new key with all that the old one may, which ends `p_overlap` later; its budgets are set for the new one, too, which begins
-- them anew. p_maker: as in change_api_key. Statuses: ok · missing · revoked · expired · replaced (answer: by which) · wider.
CREATE OR REPLACE FUNCTION rotate_api_key(p_org uuid, p_key uuid, p_new uuid, p_hash bytea, p_prefix text, p_last_four text,
                                          p_overlap interval, p_expires_at timestamptz, p_maker uuid, p_budgets uuid[],
                                          p_by origin, OUT status text, OUT answer jsonb, OUT hash bytea)
LANGUAGE plpgsql AS $$
DECLARE
    v_old api_key;
    v_new api_key;
    v_now timestamptz;
BEGIN
    PERFORM lock_pool(p_org);
    -- Their user first, as who erases them does.
    PERFORM is_erased(p_org, user_id) FROM api_key WHERE org_id = p_org AND key_id = p_key;
    SELECT * INTO v_old FROM api_key WHERE org_id = p_org AND key_id = p_key FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    status := CASE WHEN v_old.key_id IS NULL THEN 'missing'
                   WHEN v_old.revoked_at IS NOT NULL THEN 'revoked'
                   WHEN v_old.replaced_by IS NOT NULL THEN 'replaced'
                   WHEN v_old.expires_at <= v_now THEN 'expired' END;
    answer := CASE WHEN status = 'replaced' THEN to_jsonb(v_old.replaced_by) END;
    IF status IS NULL THEN
        v_new := v_old;
        v_new.expires_at := coalesce(p_expires_at, v_old.expires_at);
        answer := to_jsonb(coalesce(key_exceeds(v_new, p_maker), key_budgets_exceed(p_org, p_key, p_maker)));
        status := CASE WHEN answer IS NOT NULL THEN 'wider' END;
    END IF;
    IF status IS NOT NULL THEN
        RETURN;
    END IF;
    INSERT INTO api_key (org_id, key_id, name, kind, hash, prefix, last_four, models, ip_allow, user_id, expires_at)
    VALUES (p_org, p_new, v_old.name, v_old.kind, p_hash, p_prefix, p_last_four, v_old.models, v_old.ip_allow, v_old.user_id,
            v_new.expires_at)
    RETURNING * INTO v_new;
    UPDATE api_key
       SET replaced_by = p_new, version = version + 1, expires_at = least(expires_at, v_now + p_overlap)
     WHERE org_id = p_org AND key_id = p_key;
    PERFORM copy_key_budgets(p_org, p_key, p_new, p_budgets, p_by);
    PERFORM write_audit_log(p_org, p_by, 'key.created', 'key', p_new, NULL, key_terms(v_new) || jsonb_build_object('replaces', p_key));
    PERFORM write_audit_log(p_org, p_by, 'key.rotated', 'key', p_key, key_terms(v_old), key_terms(k))
       FROM api_key AS k WHERE k.org_id = p_org AND k.key_id = p_key;
    status := 'ok';
    answer := key_answer(v_new);
    hash := v_old.hash;
END
$$;


-- The first revocation stands: doing it again changes nothing and answers the same. Statuses: ok · missing.
CREATE OR REPLACE FUNCTION revoke_api_key(p_org uuid, p_key uuid, p_by origin,
                                          OUT status text, OUT answer jsonb, OUT hash bytea)
LANGUAGE plpgsql AS $$
DECLARE
    k api_key;
BEGIN
    SELECT * INTO k FROM api_key WHERE org_id = p_org AND key_id = p_key FOR NO KEY UPDATE;
    IF k.key_id IS NULL THEN
        status := 'missing';
        RETURN;
    END IF;
    IF k.revoked_at IS NULL THEN
        UPDATE api_key SET revoked_at = clock_timestamp(), version = version + 1 WHERE org_id = p_org AND key_id = p_key
        RETURNING * INTO k;
        PERFORM write_audit_log(p_org, p_by, 'key.revoked', 'key', p_key, NULL, jsonb_build_object('revoked_at', k.revoked_at));
    END IF;
    status := 'ok';
    answer := key_answer(k);
    hash := k.hash;
END
$$;
