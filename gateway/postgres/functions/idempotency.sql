-- A change under an idempotency key (NULL: none) happens once in 24 hours, and its answer is kept with its effect.

-- Takes the key before anything else is locked. status NULL: the change is to be made; exists: it was, and this is its
-- answer; mismatch: the key came with another body. Who comes while the first is at work waits here for its end.
CREATE OR REPLACE FUNCTION claim_key(p_org uuid, p_key text, p_request_hash bytea, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_known idempotency_key;
BEGIN
    IF p_key IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM idempotency_key
     WHERE org_id = p_org AND key = p_key AND created_at <= clock_timestamp() - interval '24 hours';
    INSERT INTO idempotency_key (org_id, key, request_hash) VALUES (p_org, p_key, p_request_hash) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO STRICT v_known FROM idempotency_key k WHERE k.org_id = p_org AND k.key = p_key;
        status := CASE WHEN v_known.request_hash = p_request_hash THEN 'exists' ELSE 'mismatch' END;
        answer := CASE WHEN status = 'exists' THEN v_known.answer END;
    END IF;
END
$$;


-- Keeps the answer under the key that was taken; NULL: the change was refused, and the key is as free as before.
CREATE OR REPLACE FUNCTION keep_answer(p_org uuid, p_key text, p_answer jsonb) RETURNS void LANGUAGE sql AS $$
    DELETE FROM idempotency_key k WHERE k.org_id = p_org AND k.key = p_key AND p_answer IS NULL;
    UPDATE idempotency_key k SET answer = p_answer WHERE k.org_id = p_org AND k.key = p_key AND p_answer IS NOT NULL
$$;
