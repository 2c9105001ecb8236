-- Keys make and change only keys that may no more than themselves; jobs have somebody for whom they were opened.

DROP FUNCTION IF EXISTS create_api_key(uuid, uuid, bytea, text, text, text, text, text[], cidr[], uuid, timestamptz, origin);
DROP FUNCTION IF EXISTS change_api_key(uuid, uuid, jsonb, bigint[], origin);
DROP FUNCTION IF EXISTS rotate_api_key(uuid, uuid, uuid, bytea, text, text, interval, timestamptz, uuid[], origin);
DROP FUNCTION IF EXISTS open_job(uuid, uuid, text, jsonb, double precision);
DROP FUNCTION IF EXISTS end_job(uuid, uuid);

-- Who may look at it and end it: the organisation, or one of its people. NULL: the gateway alone.
ALTER TABLE job ADD COLUMN opened_for uuid;
-- Those that are open, for whom they were opened.
CREATE INDEX job_open ON job (org_id, opened_for, id) WHERE ended_at IS NULL;
