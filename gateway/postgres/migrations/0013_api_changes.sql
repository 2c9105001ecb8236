-- What outside callers hold and use may be paid by one of several accounts, and is told with its tokens and prices.

DROP FUNCTION IF EXISTS plain_wish(uuid, uuid, bigint, uuid, uuid, text, text, timestamptz);
DROP FUNCTION IF EXISTS plain_ending(uuid, uuid, text, text, bigint, bigint, boolean, uuid, uuid, text);
DROP FUNCTION IF EXISTS reserve_owned(uuid, text, uuid, double precision, owned_wish[], text, bytea);
DROP FUNCTION IF EXISTS settle_owned(uuid, text, uuid, uuid, bigint, bigint, text, bytea);
DROP FUNCTION IF EXISTS deduct(uuid, uuid, uuid, text, bigint, bigint, uuid, uuid, bigint, origin, text, bytea);

-- In the order of gateway/ledger/owned.py.
DROP TYPE owned_wish;
CREATE TYPE owned_wish AS (
    id          uuid,
    account_ids uuid[],
    amount_ucr  bigint,
    user_id     uuid,
    key_id      uuid,
    model       text,
    feature     text
);

-- What was used and what it costs; in the order of gateway/ledger/used.py.
CREATE TYPE used_item AS (
    cost_ucr           bigint,
    numerator          text,
    lines              text,
    model              text,
    feature            text,
    prompt_tokens      integer,
    cached_tokens      integer,
    cache_write_tokens integer,
    output_tokens      integer
);
