-- What is read: lists and statistics that need not walk through every call, and an audit log that proves itself.

-- Grants, refunds, transfers, expiries: few among very many calls, and what finance asks for. A call's row is not in it, so
-- that settling pays nothing. The predicate is one that no statement about a single row implies: this index is no rival of
-- the primary key or of ledger_refund, for the reason that ledger_history has.
CREATE INDEX ledger_beside_calls ON ledger (org_id, id) WHERE ended IS NULL;


-- --- roll-ups -----------------------------------------------------------------------------------------------------

-- What was used, by the day on which it began in the organisation's time zone as that was when the row was counted.
CREATE TABLE usage_day (
    org_id           uuid   NOT NULL,
    day              date   NOT NULL,
    model            text,
    user_id          uuid,
    key_id           uuid,
    feature          text,
    calls            bigint NOT NULL,
    failed           bigint NOT NULL,
    prompt_tokens    bigint NOT NULL,
    cached_tokens    bigint NOT NULL,
    output_tokens    bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    -- Cost = charged + overage + waived, as in the ledger; what a late correction gave back is taken off each.
    cost_ucr         bigint NOT NULL,
    charged_ucr      bigint NOT NULL,
    overage_ucr      bigint NOT NULL,
    waived_ucr       bigint NOT NULL,
    -- Given back by hand, on the day of the refund.
    refunded_ucr     bigint NOT NULL,
    CONSTRAINT usage_day_once UNIQUE NULLS NOT DISTINCT (org_id, day, model, user_id, key_id, feature)
) WITH (fillfactor = 70);

-- Up to which version an account's rows are in usage_day, as in key_day_progress.
CREATE TABLE usage_progress (
    org_id     uuid   NOT NULL,
    account_id uuid   NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (org_id, account_id)
) WITH (fillfactor = 50);


-- --- the audit log's chain ----------------------------------------------------------------------------------------

CREATE INDEX audit_log_object ON audit_log (org_id, object_id, id);
CREATE INDEX audit_log_actor ON audit_log (org_id, actor, id);

-- Entries that are committed and not chained yet. Ids do not say in which order transactions end; being visible here does,
-- and a row that is taken out in the transaction that chains it is chained once.
CREATE TABLE audit_waiting (
    org_id uuid NOT NULL,
    id     uuid NOT NULL,
    PRIMARY KEY (id, org_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- One link an entry, over all organisations: hash = SHA-256(the hash before || content_hash), the first after 32 zero bytes.
CREATE TABLE audit_link (
    position     bigint NOT NULL PRIMARY KEY CONSTRAINT audit_link_begins_at_one CHECK (position > 0),
    org_id       uuid   NOT NULL,
    id           uuid   NOT NULL,
    content_hash bytea  NOT NULL CONSTRAINT audit_link_content_is_sha256 CHECK (octet_length(content_hash) = 32),
    hash         bytea  NOT NULL CONSTRAINT audit_link_hash_is_sha256 CHECK (octet_length(hash) = 32),
    CONSTRAINT audit_link_once UNIQUE (org_id, id)
);

-- Where the chain ends. Who adds a link holds this row, so that positions have no gaps.
CREATE TABLE audit_chain (
    one      boolean PRIMARY KEY DEFAULT true CONSTRAINT audit_chain_is_one CHECK (one),
    position bigint  NOT NULL,
    hash     bytea   NOT NULL
) WITH (fillfactor = 50);
INSERT INTO audit_chain (position, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

INSERT INTO audit_waiting (org_id, id) SELECT org_id, id FROM audit_log;

CREATE FUNCTION await_audit_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_waiting (org_id, id) VALUES (NEW.org_id, NEW.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER audit_log_awaits_link AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION await_audit_link();

CREATE TRIGGER audit_link_append_only BEFORE UPDATE OR DELETE ON audit_link
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_log_change();
CREATE TRIGGER audit_link_no_truncate BEFORE TRUNCATE ON audit_link
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_log_change();

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
        REVOKE ALL ON audit_link, audit_chain FROM tollgate_app;
        GRANT SELECT, INSERT ON audit_link TO tollgate_app;
        GRANT SELECT, UPDATE ON audit_chain TO tollgate_app;
    END IF;
END
$$;


-- --- people -------------------------------------------------------------------------------------------------------

-- When what tells who they are was replaced, for good.
ALTER TABLE org_user ADD COLUMN erased_at timestamptz;
