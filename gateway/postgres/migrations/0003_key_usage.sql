-- What each key used, by day: rolled up from the ledger when somebody asks, so that settling a call does not pay for it.

CREATE TABLE key_day (
    org_id   uuid   NOT NULL,
    key_id   uuid   NOT NULL,
    -- Of the settlement, UTC.
    day      date   NOT NULL,
    calls    bigint NOT NULL,
    -- Charged and overage; a refund counts against the day it is posted on, so a day may be below zero.
    used_ucr bigint NOT NULL,
    PRIMARY KEY (org_id, key_id, day)
) WITH (fillfactor = 50);

-- Up to which version an account's rows are in key_day. Versions have no gaps and are given out under the account's
-- lock, so whoever sees one sees all before it, and nothing is counted twice or missed.
CREATE TABLE key_day_progress (
    org_id     uuid   NOT NULL,
    account_id uuid   NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (org_id, account_id)
) WITH (fillfactor = 50);
