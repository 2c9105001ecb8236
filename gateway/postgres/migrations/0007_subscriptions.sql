-- What recurs: the plan of an organisation, the quota of a user. The functions that move it are in ../functions.

-- What each period brings, as it was agreed. Amounts in ucr.
CREATE TYPE plan_terms AS (
    plan_id          text,
    name             text,
    period           text,
    amount_ucr       bigint,
    rollover_min_ucr bigint,
    rollover_max_ucr bigint,
    priority         smallint,
    credit_line_ucr  bigint
);

CREATE FUNCTION plan_terms_are_sound(t plan_terms) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(char_length(t.plan_id) BETWEEN 1 AND 64 AND char_length(t.name) BETWEEN 1 AND 200
                    AND t.period IN ('day', 'week', 'month', 'year')
                    AND t.amount_ucr BETWEEN 0 AND 9007199254740991 AND t.credit_line_ucr BETWEEN 0 AND 9007199254740991
                    AND t.rollover_min_ucr BETWEEN 0 AND t.rollover_max_ucr AND t.rollover_max_ucr <= 9007199254740991
                    AND t.priority >= 0, false)
$$;

CREATE TABLE subscription (
    org_id          uuid        NOT NULL,
    subscription_id uuid        NOT NULL,
    account_id      uuid        NOT NULL,
    -- Of the grants that its periods bring; the credit line's are of their own kind.
    kind            text        NOT NULL CONSTRAINT subscription_kind_known CHECK (kind IN ('subscription', 'quota')),
    terms           plan_terms  NOT NULL CONSTRAINT subscription_terms_are_sound CHECK (plan_terms_are_sound(terms)),
    -- The terms from the next period on; NULL: these.
    next_terms      plan_terms
        CONSTRAINT subscription_next_terms_are_sound CHECK (next_terms IS NULL OR plan_terms_are_sound(next_terms)),
    -- Periods begin at this time of the organisation's clocks, and whole periods after it: no drift, whatever the month.
    anchor          timestamp   NOT NULL,
    -- How many periods after the anchor the current one ends.
    periods         integer     NOT NULL,
    period_start    timestamptz NOT NULL,
    period_end      timestamptz NOT NULL,
    -- What was given for this period above what the time on each plan earns; what comes next is smaller by it.
    owed_ucr        ucr         NOT NULL DEFAULT 0,
    line_owed_ucr   ucr         NOT NULL DEFAULT 0,
    -- It ends with the period.
    cancels         boolean     NOT NULL DEFAULT false,
    ended_at        timestamptz,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (org_id, subscription_id),
    FOREIGN KEY (org_id, account_id) REFERENCES account (org_id, account_id),
    CONSTRAINT subscription_period_ends_after_it_begins CHECK (period_end > period_start)
);

-- One at a time. Every account that is brought up to date looks here.
CREATE UNIQUE INDEX subscription_current ON subscription (org_id, account_id) WHERE ended_at IS NULL;

-- Each change that was made, once per id, with its answer.
CREATE TABLE subscription_change (
    org_id          uuid        NOT NULL,
    id              uuid        NOT NULL,
    subscription_id uuid        NOT NULL,
    request         jsonb       NOT NULL,
    answer          jsonb       NOT NULL,
    actor           text        NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);

ALTER TABLE credit_grant ADD COLUMN subscription_id uuid;

-- What left a grant unused, so that what was used of it can be told without reading a history. Charges are not in it.
CREATE INDEX ledger_unused ON ledger (ref_id) WHERE kind IN ('EXPIRY', 'VOID');

-- A zone that Postgres does not know would stop an organisation's accounts at their next period.
ALTER TABLE credit_policy ADD CONSTRAINT credit_policy_zone_known CHECK (timezone(time_zone, timestamptz 'epoch') IS NOT NULL);
