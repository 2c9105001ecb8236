-- What goes in and out of the batch functions, in the order in which gateway/ledger/items.py gives it.

-- account_ids: who may pay, in the order in which they are tried. ends_at: NULL for a call of a process.
CREATE TYPE wish_item AS (
    id          uuid,
    account_ids uuid[],
    amount_ucr  bigint,
    learned_ucr bigint,
    prompt_ucr  bigint,
    key_id      uuid,
    user_id     uuid,
    model       text,
    feature     text,
    pin_id      bigint,
    ends_at     timestamptz
);

CREATE TYPE extension_item AS (
    id           uuid,
    account_id   uuid,
    at_least_ucr bigint
);

-- account_id: who pays, or whose figures these are. budget_scope: of the budget that refused, and when it begins anew.
CREATE TYPE hold_answer AS (
    status        text,
    held_ucr      bigint,
    available_ucr bigint,
    balance_ucr   bigint,
    account_id    uuid,
    budget_scope  text,
    resets_at     timestamptz
);

-- A budget's period as the walk through a batch sees it: what is left of it, NULL where there is no such limit.
CREATE TYPE budget_room AS (
    id        integer,
    scope     text,
    scope_id  text,
    max_ucr   bigint,
    used_ucr  bigint,
    room_ucr  bigint,
    room_open integer,
    resets_at timestamptz
);

-- other_accounts: for the release of a call of which it is not known who was to pay; NULL otherwise.
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
    feature             text,
    upstream            text,
    upstream_model      text,
    provider_request_id text,
    streamed            boolean,
    status              integer,
    finish_reason       text,
    prompt_tokens       integer,
    cached_tokens       integer,
    cache_write_tokens  integer,
    output_tokens       integer,
    reasoning_tokens    integer,
    first_event_ms      integer,
    duration_ms         integer,
    other_accounts      uuid[]
);

-- settled · late (the difference after a sweep) · same (a repetition) · tombstone (nothing was open under the id)
-- · conflict (ended before with another amount, or open on another account) · too_old · no_account
CREATE TYPE settlement_answer AS (
    status      text,
    charged_ucr bigint,
    overage_ucr bigint,
    waived_ucr  bigint,
    held_ucr    bigint,
    account_id  uuid
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
    charged_ucr       bigint,
    overage_ucr       bigint,
    waived_ucr        bigint,
    held_ucr          bigint,
    burned_grants     uuid[],
    burned_ucr        bigint[],
    -- The budget_period rows that it was held in.
    budgets           integer[]
);
