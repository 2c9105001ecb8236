-- Months that leave the ledger, and what stays behind of them so that the books can be proven from there on.

-- closed_at: from then on the month takes no row, and no refund of its charges. detached_at: its rows have left.
ALTER TABLE ledger_month ADD COLUMN closed_at timestamptz, ADD COLUMN archived_rows bigint, ADD COLUMN table_kept boolean;
UPDATE ledger_month SET closed_at = detached_at WHERE detached_at IS NOT NULL;
ALTER TABLE ledger_month ADD CONSTRAINT ledger_month_closes_before_it_leaves CHECK (detached_at IS NULL OR closed_at IS NOT NULL);

-- Where an account's books begin once the month has left: after the highest version among the month's rows. A row of a
-- later month may have a lower version, because calls end in another order than they begin; it is proven with the closing.
CREATE TABLE ledger_closing (
    org_id          uuid   NOT NULL,
    account_id      uuid   NOT NULL,
    first_day       date   NOT NULL REFERENCES ledger_month (first_day),
    through_version bigint NOT NULL CONSTRAINT closing_has_rows CHECK (through_version > 0),
    balance_ucr     ucr    NOT NULL,
    receivable_ucr  ucr    NOT NULL,
    PRIMARY KEY (org_id, account_id, first_day)
);

-- burned_ucr: what rows burned of the grant between the closing before and this one, by version. unused_ucr: what expired or
-- was taken back in the month's own rows, negative as there.
CREATE TABLE ledger_closing_grant (
    org_id     uuid   NOT NULL,
    grant_id   uuid   NOT NULL,
    first_day  date   NOT NULL REFERENCES ledger_month (first_day),
    account_id uuid   NOT NULL,
    burned_ucr bigint NOT NULL,
    unused_ucr bigint NOT NULL CONSTRAINT closing_unused_leaves CHECK (unused_ucr <= 0),
    PRIMARY KEY (org_id, grant_id, first_day)
);
CREATE INDEX ledger_closing_grant_of_account ON ledger_closing_grant (account_id);

-- The few rows that left although one that stays refers to them: the other side of a transfer over the month's end, a
-- charge that was refunded later. refunded_ucr: what refunds that left as well had given back of it.
CREATE TABLE ledger_closing_row (
    org_id       uuid   NOT NULL,
    id           uuid   NOT NULL,
    first_day    date   NOT NULL REFERENCES ledger_month (first_day),
    account_id   uuid   NOT NULL,
    kind         text   NOT NULL,
    amount_ucr   bigint NOT NULL,
    ref_id       uuid,
    charged_ucr  ucr,
    refunded_ucr ucr    NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, id)
);

-- The application reads them in its audits; only the schema's owner archives.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
        REVOKE ALL ON ledger_closing, ledger_closing_grant, ledger_closing_row FROM tollgate_app;
        GRANT SELECT ON ledger_closing, ledger_closing_grant, ledger_closing_row TO tollgate_app;
    END IF;
END
$$;


-- On a partition whose month is closed. Who had not seen that yet may try again, and then sees it.
CREATE FUNCTION refuse_closed_month() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the month of % is closed: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'serialization_failure';
END
$$;

-- On the rest, where an id of a month that has left would go: whatever comes under it was done long ago.
CREATE FUNCTION refuse_archived_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF month_is_closed(NEW.id) THEN
        RAISE EXCEPTION 'the month of the id % is archived: the row is refused', NEW.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER ledger_nothing_archived BEFORE INSERT ON ledger_rest FOR EACH ROW EXECUTE FUNCTION refuse_archived_id();
