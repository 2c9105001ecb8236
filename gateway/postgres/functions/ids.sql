-- Ids of ledger rows: version 7 uuids, whose first bits are the time, so that an id says its partition.

CREATE OR REPLACE FUNCTION first_id_at(p_at timestamptz) RETURNS uuid
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    RETURN (lpad(to_hex((extract(epoch FROM p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;


-- When the id was made, to the millisecond.
CREATE OR REPLACE FUNCTION id_time(p_id uuid) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN to_timestamp(('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0);


-- An id decides where its row is stored and kept, so whoever makes one does it now, by the ledger's clock.
CREATE OR REPLACE FUNCTION is_off_clock(p_id uuid, p_now timestamptz) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN p_id < first_id_at(p_now - interval '5 minutes') OR p_id > first_id_at(p_now + interval '5 minutes');


-- A uuid of version 7 for rows that the ledger itself decides on (expiry, repayment, activation). After the millisecond come
-- the microseconds, as RFC 9562 has it (6.2, method 3): so messages and entries that are made one after another stay so.
CREATE OR REPLACE FUNCTION new_ledger_id(p_at timestamptz) RETURNS uuid
    LANGUAGE sql VOLATILE STRICT
    RETURN overlay(gen_random_uuid()::text
                   PLACING left(first_id_at(date_trunc('milliseconds', p_at))::text, 13) || '-7'
                           || lpad(to_hex(extract(microseconds FROM p_at)::integer % 1000 * 4096 / 1000), 3, '0') FROM 1)::uuid;


-- The one id that a late correction of this call can have: same time bits, so the same partition, and only once.
CREATE OR REPLACE FUNCTION late_id(p_id uuid) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN overlay(md5(p_id::text || 'late')::uuid::text PLACING left(p_id::text, 15) FROM 1)::uuid;
