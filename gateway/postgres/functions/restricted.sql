-- Accounts that pay for some models or features alone: opened, and changed in what they are for.

-- What the audit log keeps of one.
CREATE OR REPLACE FUNCTION account_terms(a account) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('name', a.name, 'models', a.models, 'features', a.features)
$$;


-- Under the pool's lock, so that they are counted one after another. NULL: there are p_most that are not closed.
CREATE OR REPLACE FUNCTION open_restricted_account(p_org uuid, p_account uuid, p_name text, p_models text[], p_features text[],
                                                   p_most bigint, p_by origin) RETURNS account
LANGUAGE plpgsql AS $$
DECLARE
    a account;
BEGIN
    IF (SELECT count(*) FROM account x WHERE x.org_id = p_org AND x.kind = 'restricted' AND x.status <> 'closed') >= p_most THEN
        RETURN NULL;
    END IF;
    INSERT INTO account (org_id, account_id, kind, name, models, features)
    VALUES (p_org, p_account, 'restricted', p_name, p_models, p_features)
    RETURNING * INTO a;
    PERFORM write_audit_log(p_org, p_by, 'account.opened', 'account', p_account, NULL, account_terms(a));
    RETURN a;
END
$$;


-- The account is locked, and restricted. What is so already leaves no entry. Every process hears of a change: keys are
-- remembered with what the accounts that pay for them are for.
CREATE OR REPLACE FUNCTION change_restricted_account(p_org uuid, p_account uuid, p_name text, p_models text[], p_features text[],
                                                     p_by origin) RETURNS account
LANGUAGE plpgsql AS $$
DECLARE
    v_before account;
    v_after  account;
BEGIN
    SELECT * INTO STRICT v_before FROM account WHERE org_id = p_org AND account_id = p_account;
    IF account_terms(v_before) = jsonb_build_object('name', p_name, 'models', p_models, 'features', p_features) THEN
        RETURN v_before;
    END IF;
    UPDATE account
       SET name = p_name, models = p_models, features = p_features
     WHERE org_id = p_org AND account_id = p_account
    RETURNING * INTO v_after;
    PERFORM write_audit_log(p_org, p_by, 'account.changed', 'account', p_account, account_terms(v_before), account_terms(v_after));
    PERFORM pg_notify('tollgate_identity', 'org ' || p_org);
    RETURN v_after;
END
$$;
