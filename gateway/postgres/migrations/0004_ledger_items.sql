-- What goes in and out of the batch functions, in the order in which gateway/ledger/items.py gives it.

CREATE TYPE wish_item AS (
    id         uuid,
    account_id uuid,
    amount_ucr bigint,
    learned_ucr bigint,
    prompt_ucr bigint,
    key_id     uuid,
    user_id    uuid,
    model      text,
    pins       text
);

CREATE TYPE extension_item AS (
    id           uuid,
    account_id   uuid,
    at_least_ucr bigint
);

CREATE TYPE hold_answer AS (
    status        text,
    held_ucr      bigint,
    available_ucr bigint,
    balance_ucr   bigint
);

CREATE TYPE settlement_item AS (
    id                  uuid,
    account_id          uuid,
    ended               text,
    delivered           boolean,
    cost_ucr            bigint,
    numerator           text,
    lines               text,
    waive_above_held    boolean,
    key_id              uuid,
    user_id             uuid,
    model               text,
    upstream            text,
    upstream_model      text,
    provider_request_id text,
    streamed            boolean,
    status              integer,
    finish_reason       text,
    prompt_tokens       bigint,
    cached_tokens       bigint,
    cache_write_tokens  bigint,
    output_tokens       bigint,
    reasoning_tokens    bigint,
    started_at_ms       bigint,
    first_event_ms      bigint,
    duration_ms         bigint
);

-- settled · late (the difference after a sweep) · same (a repetition) · tombstone (nothing was open under the id)
-- · conflict (ended before with another amount, or open on another account) · too_old · no_account
CREATE TYPE settlement_answer AS (
    status      text,
    charged_ucr bigint,
    overage_ucr bigint,
    waived_ucr  bigint,
    held_ucr    bigint
);

-- The ledger row that an item becomes; version NULL: none.
CREATE TYPE settlement_row AS (
    id                uuid,
    account_id        uuid,
    kind              text,
    version           bigint,
    amount_ucr        bigint,
    balance_after_ucr bigint,
    ref_id            uuid,
    cost_ucr          bigint,
    charged_ucr       bigint,
    overage_ucr       bigint,
    waived_ucr        bigint,
    held_ucr          bigint,
    burned_grants     uuid[],
    burned_ucr        bigint[]
);
