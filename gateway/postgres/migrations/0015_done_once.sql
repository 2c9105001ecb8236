-- Idempotency keys are claimed around a change and no longer inside the functions that make it; see functions/idempotency.sql.

-- As once.py writes them from now on.
UPDATE idempotency_key SET key = encode(sha256(convert_to(key, 'UTF8')), 'hex');

-- What was kept of people who were erased in the last day.
UPDATE idempotency_key k SET answer = NULL, request_hash = ''
  FROM org_user u
 WHERE u.org_id = k.org_id AND u.erased_at IS NOT NULL AND k.answer ->> 'user_id' = u.user_id::text;

DROP FUNCTION IF EXISTS claim_key(uuid, text, bytea);
DROP FUNCTION IF EXISTS keep_answer(uuid, text, jsonb);
DROP FUNCTION IF EXISTS add_grant(uuid, grant_item, origin, text, bytea);
DROP FUNCTION IF EXISTS take_credits(uuid, uuid, uuid, bigint, text, text, origin, text, bytea);
DROP FUNCTION IF EXISTS transfer(uuid, uuid, uuid, uuid, bigint, text, origin, text, bytea);
DROP FUNCTION IF EXISTS refund_charge(uuid, uuid, uuid, bigint, text, text, origin, text, bytea);
DROP FUNCTION IF EXISTS void_grant(uuid, uuid, text, origin, text, bytea);
DROP FUNCTION IF EXISTS close_accounts(uuid, uuid, boolean, origin, text, bytea);
DROP FUNCTION IF EXISTS deduct(uuid, uuid, uuid[], used_item, uuid, uuid, bigint, origin, text, bytea);
DROP FUNCTION IF EXISTS reserve_owned(uuid, text, uuid, double precision, owned_wish[], text, bytea);
DROP FUNCTION IF EXISTS extend_owned(uuid, text, uuid, uuid, bigint, double precision, double precision, bigint);
DROP FUNCTION IF EXISTS settle_owned(uuid, text, uuid, uuid, used_item, bigint, text, bytea);
DROP FUNCTION IF EXISTS create_api_key(uuid, uuid, bytea, text, text, text, text, text[], cidr[], uuid, timestamptz, origin, text, bytea);
DROP FUNCTION IF EXISTS change_api_key(uuid, uuid, jsonb, bigint[], origin, text, bytea);
DROP FUNCTION IF EXISTS rotate_api_key(uuid, uuid, uuid, bytea, text, text, interval, timestamptz, uuid[], origin, text, bytea);
DROP FUNCTION IF EXISTS revoke_api_key(uuid, uuid, origin, text, bytea);
DROP FUNCTION IF EXISTS set_price(uuid, text, text, boolean, jsonb, timestamptz, timestamptz, bigint, bigint, origin, text, bytea);
DROP FUNCTION IF EXISTS end_price(text, text, timestamptz, bigint, origin, text, bytea);
DROP FUNCTION IF EXISTS initialize_prices(text, jsonb, boolean, bigint, origin, text, bytea);
DROP FUNCTION IF EXISTS set_markup(text, text, integer, bigint, origin, text, bytea);
