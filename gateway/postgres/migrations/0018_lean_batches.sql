-- A batch reads its accounts and budgets once and writes them once: its steps hand them on to each other.

DROP FUNCTION IF EXISTS lock_for_batch(uuid, settlement_item[], extension_item[], wish_item[]);
DROP FUNCTION IF EXISTS reserve_batch(uuid, text, uuid, integer[], wish_item[]);
DROP FUNCTION IF EXISTS admit_together(uuid, timestamptz, account[], budget_room[], wish_item[]);
DROP FUNCTION IF EXISTS admit_one_by_one(uuid, timestamptz, account[], budget_room[], wish_item[]);
DROP FUNCTION IF EXISTS admit(wish_item, account[], budget_room[]);
DROP FUNCTION IF EXISTS write_reservations(uuid, text, uuid, timestamptz, budget_room[], wish_item[], hold_answer[]);
DROP FUNCTION IF EXISTS settle_batch(uuid, bigint, settlement_item[]);
DROP FUNCTION IF EXISTS settle_together(account, uuid[], settlement_item[], settlement_row[], text[]);
DROP FUNCTION IF EXISTS settle_one_by_one(account, bigint, settlement_item[], settlement_row[], text[], timestamptz);
DROP FUNCTION IF EXISTS write_endings(uuid, settlement_item[], settlement_row[], timestamptz);
DROP FUNCTION IF EXISTS save_grant(credit_grant, bigint);
DROP FUNCTION IF EXISTS find_payers(uuid, settlement_item[]);
DROP FUNCTION IF EXISTS extend_batch(uuid, extension_item[]);
DROP FUNCTION IF EXISTS extend(account, uuid, bigint);
DROP FUNCTION IF EXISTS falls_under(wish_item, text, text);
DROP FUNCTION IF EXISTS lock_budgets(uuid, uuid[], wish_item[]);
DROP FUNCTION IF EXISTS budget_rooms(uuid, integer[]);
DROP FUNCTION IF EXISTS book_endings(uuid, settlement_row[]);

-- A budget's period as it goes through a batch; max_ucr and open_max are NULL where there is no such limit. Of a period
-- that is over, takes_wishes is false: it is here for what was reserved in it.
DROP TYPE budget_room;
CREATE TYPE budget_room AS (
    id           integer,
    scope        text,
    scope_id     text,
    max_ucr      bigint,
    open_max     integer,
    used_ucr     bigint,
    held_ucr     bigint,
    open_count   integer,
    resets_at    timestamptz,
    takes_wishes boolean
);


-- A table's CHECKs are read and prepared anew by each statement that writes to it, and those of `account` cost as much as
-- the rest of its update. What looks at one column is a domain's, which a session prepares once; what looks at several that
-- calls never change is a trigger's on those columns. CHECKs remain for what calls can break.

CREATE DOMAIN ucr_total AS bigint CONSTRAINT ucr_total_not_negative CHECK (VALUE >= 0);
CREATE DOMAIN open_calls AS integer CONSTRAINT open_calls_not_negative CHECK (VALUE >= 0);
CREATE DOMAIN account_kind AS text CONSTRAINT account_kind_known CHECK (VALUE IN ('pool', 'user', 'restricted'));
CREATE DOMAIN account_status AS text CONSTRAINT account_status_known CHECK (VALUE IN ('active', 'suspended', 'closed'));
CREATE DOMAIN account_name AS text CONSTRAINT account_name_is_bounded CHECK (char_length(VALUE) BETWEEN 1 AND 200);
CREATE DOMAIN account_limits AS text[] CONSTRAINT account_limits_are_bounded CHECK (cardinality(VALUE) BETWEEN 1 AND 1000);
CREATE DOMAIN grant_kind AS text
    CONSTRAINT grant_kind_known CHECK (VALUE IN ('subscription', 'prepaid', 'quota', 'credit_line', 'bonus', 'refund',
                                                 'transfer_in', 'adjustment'));
CREATE DOMAIN grant_category AS text CONSTRAINT grant_category_known CHECK (VALUE IN ('promo', 'paid'));
CREATE DOMAIN grant_priority AS smallint CONSTRAINT grant_priority_not_negative CHECK (VALUE >= 0);
CREATE DOMAIN currency AS text CONSTRAINT currency_is_iso_4217 CHECK (VALUE ~ '^[A-Z]{3}$');
CREATE DOMAIN reservation_owner AS text CONSTRAINT reservation_owner_known CHECK (VALUE IN ('api', 'job'));
CREATE DOMAIN budget_periods AS text CONSTRAINT budget_periods_are_an_array CHECK (VALUE LIKE '{_%}');

DROP TRIGGER account_status_changed ON account;
DROP TRIGGER IF EXISTS account_tells ON account;
DROP TRIGGER IF EXISTS budget_tells ON budget_period;

ALTER TABLE account
    DROP CONSTRAINT account_kind_known,
    DROP CONSTRAINT account_name_is_bounded,
    DROP CONSTRAINT account_models_are_bounded,
    DROP CONSTRAINT account_features_are_bounded,
    DROP CONSTRAINT account_status_known,
    DROP CONSTRAINT account_open_count_not_negative,
    DROP CONSTRAINT account_granted_not_negative,
    DROP CONSTRAINT account_used_not_negative,
    DROP CONSTRAINT account_user_has_a_user,
    DROP CONSTRAINT account_restricted_says_to_what,
    ALTER COLUMN kind TYPE account_kind,
    ALTER COLUMN name TYPE account_name,
    ALTER COLUMN models TYPE account_limits,
    ALTER COLUMN features TYPE account_limits,
    ALTER COLUMN status TYPE account_status,
    ALTER COLUMN open_count TYPE open_calls,
    ALTER COLUMN granted_ucr TYPE ucr_total,
    ALTER COLUMN used_ucr TYPE ucr_total;

ALTER TABLE credit_grant
    DROP CONSTRAINT grant_kind_known,
    DROP CONSTRAINT grant_category_known,
    DROP CONSTRAINT grant_priority_not_negative,
    DROP CONSTRAINT grant_paid_not_negative,
    DROP CONSTRAINT grant_currency_is_iso_4217,
    DROP CONSTRAINT grant_expires_after_it_begins,
    DROP CONSTRAINT grant_rollover_is_a_range,
    DROP CONSTRAINT grant_paid_has_a_currency,
    ALTER COLUMN kind TYPE grant_kind,
    ALTER COLUMN category TYPE grant_category,
    ALTER COLUMN priority TYPE grant_priority,
    ALTER COLUMN paid_minor TYPE ucr_total,
    ALTER COLUMN paid_currency TYPE currency;

ALTER TABLE budget_period
    DROP CONSTRAINT budget_period_used_not_negative,
    DROP CONSTRAINT budget_period_held_not_negative,
    DROP CONSTRAINT budget_period_open_not_negative,
    DROP CONSTRAINT budget_period_ends_after_it_begins,
    ALTER COLUMN used_ucr TYPE ucr_total,
    ALTER COLUMN held_ucr TYPE ucr_total,
    ALTER COLUMN open_count TYPE open_calls;

ALTER TABLE reservation
    DROP CONSTRAINT reservation_owner_known,
    DROP CONSTRAINT reservation_budgets_are_ids,
    ALTER COLUMN owner_kind TYPE reservation_owner,
    ALTER COLUMN budgets TYPE budget_periods;

ALTER TABLE ledger
    DROP CONSTRAINT ledger_kind_has_its_sign,
    DROP CONSTRAINT ledger_ending_known,
    ADD CONSTRAINT ledger_kind_has_its_sign CHECK (
        CASE WHEN kind IN ('CHARGE', 'LATE_CHARGE', 'VOID', 'EXPIRY', 'TRANSFER_OUT', 'REPAYMENT') THEN amount_ucr <= 0
             WHEN kind IN ('GRANT', 'REFUND', 'TRANSFER_IN') THEN amount_ucr >= 0
             ELSE kind = 'ADJUSTMENT' OR kind = 'RELEASE' AND amount_ucr = 0 END
        AND (ended IS NULL OR ended IN ('ok', 'error', 'cancelled', 'cut_off', 'estimated', 'recovered', 'expired')));

CREATE TRIGGER account_status_changed AFTER UPDATE OF status ON account
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION announce_org_of_row();


CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'new row for relation "%" violates check constraint "%"', TG_TABLE_NAME, TG_NAME
        USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END
$$;

CREATE TRIGGER account_user_has_a_user AFTER INSERT OR UPDATE OF kind, user_id ON account
    FOR EACH ROW WHEN ((NEW.kind = 'user') <> (NEW.user_id IS NOT NULL)) EXECUTE FUNCTION refuse_row();
CREATE TRIGGER account_restricted_says_to_what AFTER INSERT OR UPDATE OF kind, models, features ON account
    FOR EACH ROW WHEN ((NEW.kind = 'restricted') <> (NEW.models IS NOT NULL OR NEW.features IS NOT NULL))
    EXECUTE FUNCTION refuse_row();
CREATE TRIGGER grant_expires_after_it_begins AFTER INSERT OR UPDATE OF effective_at, expires_at ON credit_grant
    FOR EACH ROW WHEN (NEW.expires_at <= NEW.effective_at) EXECUTE FUNCTION refuse_row();
CREATE TRIGGER grant_rollover_is_a_range AFTER INSERT OR UPDATE OF rollover_min_ucr, rollover_max_ucr ON credit_grant
    FOR EACH ROW WHEN (NEW.rollover_min_ucr > NEW.rollover_max_ucr) EXECUTE FUNCTION refuse_row();
CREATE TRIGGER grant_paid_has_a_currency AFTER INSERT OR UPDATE OF paid_minor, paid_currency ON credit_grant
    FOR EACH ROW WHEN ((NEW.paid_minor IS NULL) <> (NEW.paid_currency IS NULL)) EXECUTE FUNCTION refuse_row();
CREATE TRIGGER budget_period_ends_after_it_begins AFTER INSERT OR UPDATE OF period_start, period_end ON budget_period
    FOR EACH ROW WHEN (NEW.period_end <= NEW.period_start) EXECUTE FUNCTION refuse_row();
