-- A change under an idempotency key happens once in 24 hours, and its answer is kept with its effect. What makes the change
-- does not know of it: gateway/postgres/once.py claims the keys before and keeps the answer after, in one transaction. Keys
-- are stored as hashes, for their texts are the callers' own and may name anybody.

-- Takes the keys before anything else is locked: that of the request, then that of the operation which it names. In this
-- order everywhere, and no more than one of each, so that nobody waits in a circle. status NULL: the change is to be made;
-- exists: it was, under one of them, and this is its answer, which they all have from now on; mismatch: one of them came with
-- another request; erased: what it did told of a person whose data is gone. Who comes while the first is at work waits here.
CREATE OR REPLACE FUNCTION claim_keys(p_org uuid, p_keys text[], p_request_hash bytea, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_known idempotency_key;
BEGIN
    FOR n IN 1 .. cardinality(p_keys) LOOP
        DELETE FROM idempotency_key
         WHERE org_id = p_org AND key = p_keys[n] AND created_at <= clock_timestamp() - interval '24 hours';
        INSERT INTO idempotency_key (org_id, key, request_hash) VALUES (p_org, p_keys[n], p_request_hash) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT * INTO STRICT v_known FROM idempotency_key k WHERE k.org_id = p_org AND k.key = p_keys[n];
            status := CASE WHEN v_known.answer IS NULL THEN 'erased'
                           WHEN v_known.request_hash = p_request_hash THEN 'exists'
                           ELSE 'mismatch' END;
            answer := CASE WHEN status = 'exists' THEN v_known.answer END;
            PERFORM keep_answer(p_org, p_keys[:n - 1], answer);
            RETURN;
        END IF;
    END LOOP;
END
$$;


-- Keeps the answer under keys that were taken; NULL: there was no change, and they are as free as before.
CREATE OR REPLACE FUNCTION keep_answer(p_org uuid, p_keys text[], p_answer jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM idempotency_key k WHERE k.org_id = p_org AND k.key = ANY (p_keys) AND p_answer IS NULL;
    UPDATE idempotency_key k SET answer = p_answer WHERE k.org_id = p_org AND k.key = ANY (p_keys) AND p_answer IS NOT NULL;
    RETURN p_answer IS NOT NULL;
END
$$;


-- Takes a person out of what is kept: the answers that tell of them, and the hashes of what was asked. The keys stay taken, so
-- that a request that comes again does not make the person again. Rows that somebody has locked are past their day and leave.
CREATE OR REPLACE FUNCTION forget_in_answers(p_org uuid, p_user uuid) RETURNS void LANGUAGE sql AS $$
    UPDATE idempotency_key k SET answer = NULL, request_hash = ''
     WHERE (k.org_id, k.key) IN (SELECT i.org_id, i.key FROM idempotency_key i
                                  WHERE i.org_id = p_org AND i.answer ->> 'user_id' = p_user::text
                                    FOR UPDATE SKIP LOCKED)
$$;
