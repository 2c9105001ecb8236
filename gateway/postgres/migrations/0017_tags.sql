-- What a call, or what was used outside, is tagged with: a JSON array of texts; NULL where there are none, so that most rows
-- are no longer for it. ledger.tags has been there for it from the beginning.

ALTER TYPE settlement_item ADD ATTRIBUTE tags jsonb;
ALTER TYPE used_item ADD ATTRIBUTE tags jsonb;
