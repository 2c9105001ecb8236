-- The people of an organisation, what each role is given, and who hears of it when accounts come and go.

CREATE TABLE org_user (
    org_id      uuid        NOT NULL REFERENCES org,
    user_id     uuid        NOT NULL,
    -- What the organisation itself calls them.
    external_id text        NOT NULL CONSTRAINT org_user_external_id_is_bounded CHECK (char_length(external_id) BETWEEN 1 AND 200),
    name        text        NOT NULL CONSTRAINT org_user_name_is_bounded CHECK (char_length(name) BETWEEN 1 AND 200),
    email       text        CONSTRAINT org_user_email_is_bounded CHECK (char_length(email) BETWEEN 3 AND 254),
    role        text        NOT NULL CONSTRAINT org_user_role_known CHECK (role IN ('member', 'viewer', 'billing', 'org_admin')),
    status      text        NOT NULL DEFAULT 'active' CONSTRAINT org_user_status_known CHECK (status IN ('active', 'suspended')),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, user_id),
    CONSTRAINT org_user_once UNIQUE (org_id, external_id)
);

ALTER TABLE api_key ADD CONSTRAINT api_key_user_is_of_the_org FOREIGN KEY (org_id, user_id) REFERENCES org_user;

-- What a user of that role begins with: credits out of the pool, once, or a quota each period.
CREATE TABLE allocation_rule (
    org_id     uuid NOT NULL,
    role       text NOT NULL CONSTRAINT allocation_rule_role_known CHECK (role IN ('member', 'viewer', 'billing', 'org_admin')),
    kind       text NOT NULL CONSTRAINT allocation_rule_kind_known CHECK (kind IN ('transfer', 'quota')),
    amount_ucr ucr  NOT NULL CONSTRAINT allocation_rule_gives_something CHECK (amount_ucr > 0),
    period     text CONSTRAINT allocation_rule_period_known CHECK (period IN ('day', 'week', 'month', 'year')),
    PRIMARY KEY (org_id, role),
    CONSTRAINT allocation_rule_quota_has_a_period CHECK ((kind = 'quota') = (period IS NOT NULL))
);

-- A key's accounts are looked up without reading those of all users.
CREATE INDEX account_restricted ON account (org_id) WHERE kind = 'restricted';

-- Keys are remembered with the accounts that may pay for their calls. What calls do to an account is none of this: the
-- trigger on updates looks at the status alone, and statements that do not name it do not even ask.
CREATE FUNCTION announce_org_of_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tollgate_identity', 'org ' || coalesce(NEW.org_id, OLD.org_id));
    RETURN NULL;
END $$;

CREATE TRIGGER account_opened AFTER INSERT ON account FOR EACH ROW EXECUTE FUNCTION announce_org_of_row();
CREATE TRIGGER account_status_changed AFTER UPDATE OF status ON account
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION announce_org_of_row();
CREATE TRIGGER credit_policy_changed AFTER INSERT OR UPDATE OR DELETE ON credit_policy
    FOR EACH ROW EXECUTE FUNCTION announce_org_of_row();
CREATE TRIGGER org_user_changed AFTER UPDATE OR DELETE ON org_user FOR EACH ROW EXECUTE FUNCTION announce_org_of_row();
