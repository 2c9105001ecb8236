-- What people and programs changed beside calls, written with the change. Rows are added and never changed.

-- Who does something, from where, in which request, and why; in the order of gateway/core/origin.py.
CREATE TYPE origin AS (
    actor      text,
    address    text,
    request_id uuid,
    reason     text
);

CREATE TABLE audit_log (
    org_id      uuid        NOT NULL,
    -- Version 7: the order of the rows is that of their ids.
    id          uuid        NOT NULL,
    at          timestamptz NOT NULL,
    actor       text        NOT NULL CONSTRAINT audit_log_actor_is_bounded CHECK (char_length(actor) BETWEEN 1 AND 1000),
    address     text        NOT NULL CONSTRAINT audit_log_address_is_bounded CHECK (char_length(address) <= 200),
    -- What was done, in the past tense: credits.granted, key.revoked.
    action      text        NOT NULL CONSTRAINT audit_log_action_is_a_name CHECK (action ~ '^[a-z_]{1,32}\.[a-z_]{1,32}$'),
    object_kind text        NOT NULL CONSTRAINT audit_log_object_kind_is_a_name CHECK (object_kind ~ '^[a-z_]{1,32}$'),
    object_id   uuid        NOT NULL,
    -- What changed of the object, as it was and as it is; NULL where it was made, or is gone.
    before      jsonb,
    after       jsonb,
    reason      text        NOT NULL CONSTRAINT audit_log_reason_is_bounded CHECK (char_length(reason) <= 1000),
    request_id  uuid,
    PRIMARY KEY (org_id, id)
);

CREATE FUNCTION refuse_audit_log_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_log_change();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_log_change();

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
        REVOKE ALL ON audit_log FROM tollgate_app;
        GRANT SELECT, INSERT ON audit_log TO tollgate_app;
    END IF;
END
$$;
