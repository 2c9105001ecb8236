-- What becomes of a request's fields that the dialect of the model's provider cannot say: as the gateway is set up, or as
-- the organisation chose.

ALTER TABLE credit_policy
    ADD COLUMN unsupported_fields text NOT NULL DEFAULT 'default'
        CONSTRAINT credit_policy_unsupported_known CHECK (unsupported_fields IN ('default', 'refuse', 'drop'));

DROP FUNCTION IF EXISTS set_credit_policy(uuid, text, text, origin);
