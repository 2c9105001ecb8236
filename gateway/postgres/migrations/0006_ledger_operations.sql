-- What the operations beside calls need: how they are asked, and how they find each other.

DROP FUNCTION IF EXISTS add_grant(uuid, uuid, uuid, text, text, smallint, bigint, timestamptz, timestamptz, text, text, text, text,
                                  text, bytea);

-- A grant as it is asked for, in the order of gateway/ledger/grants.py.
CREATE TYPE grant_item AS (
    id               uuid,
    account_id       uuid,
    kind             text,
    category         text,
    priority         smallint,
    amount_ucr       bigint,
    effective_at     timestamptz,
    expires_at       timestamptz,
    transaction_type text,
    reason           text,
    description      text,
    source_id        uuid,
    paid_minor       bigint,
    paid_currency    text
);

-- The refunds of a charge. Not org_id first, for the reason that ledger_history has.
CREATE INDEX ledger_refund ON ledger (ref_id) WHERE kind = 'REFUND';

-- A reservation that an outside caller, or a job, asks for; in the order of gateway/ledger/owned.py.
CREATE TYPE owned_wish AS (
    id         uuid,
    account_id uuid,
    amount_ucr bigint,
    user_id    uuid,
    key_id     uuid,
    model      text
);

-- A job's life is bounded, like that of everything it holds.
ALTER TABLE job ADD COLUMN expires_at timestamptz;
UPDATE job SET expires_at = created_at + interval '24 hours';
ALTER TABLE job ALTER COLUMN expires_at SET NOT NULL,
    ADD CONSTRAINT job_expires_after_it_begins CHECK (expires_at > created_at);
CREATE INDEX job_expires ON job (expires_at) WHERE ended_at IS NULL;
