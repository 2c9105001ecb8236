-- What follows from a row of the ledger: of calls there are many, so nothing is stored that the rest of the row says.

-- The side that the row's amount stands against; NULL: there is no such kind.
CREATE OR REPLACE FUNCTION contra(l ledger) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE l.kind
        WHEN 'CHARGE' THEN 'revenue'
        WHEN 'RELEASE' THEN 'revenue'
        WHEN 'LATE_CHARGE' THEN 'revenue'
        WHEN 'REFUND' THEN 'revenue'
        WHEN 'GRANT' THEN 'grant_source'
        WHEN 'ADJUSTMENT' THEN 'grant_source'
        WHEN 'VOID' THEN 'grant_source'
        WHEN 'EXPIRY' THEN 'breakage'
        WHEN 'TRANSFER_OUT' THEN 'transfer'
        WHEN 'TRANSFER_IN' THEN 'transfer'
        WHEN 'REPAYMENT' THEN 'receivable'
    END
$$;


-- What a row of this kind and amount charged: for lists, which look at more rows than they show, and where it is dear to
-- pass on a whole one.
CREATE OR REPLACE FUNCTION charged_by(p_kind text, p_amount_ucr bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_kind WHEN 'CHARGE' THEN -p_amount_ucr WHEN 'RELEASE' THEN 0 WHEN 'LATE_CHARGE' THEN -p_amount_ucr
                       WHEN 'REFUND' THEN p_amount_ucr END
$$;


-- What the row charged, or as a refund gave back; NULL where it is not about a call.
CREATE OR REPLACE FUNCTION charged_ucr(l ledger) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT charged_by(l.kind, l.amount_ucr)
$$;


-- What was used at its price, whoever bears it; of a late row the difference, in a refund with the other sign.
CREATE OR REPLACE FUNCTION cost_ucr(l ledger) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT charged_ucr(l) + coalesce(l.overage_ucr::bigint, 0) + coalesce(l.waived_ucr::bigint, 0)
$$;


-- What the upstream calls the model that served; mostly it is what the caller calls it, and then not stored again.
CREATE OR REPLACE FUNCTION upstream_model_of(l ledger) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN l.upstream_model IS NULL AND l.upstream <> '' THEN l.model ELSE l.upstream_model END
$$;


-- The grants that the row moved, in that order, and how much of each.
CREATE OR REPLACE FUNCTION burned_grants_of(l ledger) RETURNS uuid[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN l.burned_grant IS NULL THEN l.burned_grants ELSE ARRAY[l.burned_grant] END
$$;

CREATE OR REPLACE FUNCTION burned_ucr_of(l ledger) RETURNS bigint[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN l.burned_grant IS NULL THEN l.burned_ucr ELSE ARRAY[abs(l.amount_ucr)] END
$$;


-- What a row adds to what its account owes.
CREATE OR REPLACE FUNCTION owed_by(l ledger) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE l.kind WHEN 'REFUND' THEN -coalesce(l.overage_ucr, 0) WHEN 'REPAYMENT' THEN l.amount_ucr
                       ELSE coalesce(l.overage_ucr, 0) END
$$;


-- How much the row moved in each of its grants: positive where it burned, negative where it gave back.
CREATE OR REPLACE FUNCTION burns_of(l ledger, OUT grant_id uuid, OUT ucr bigint) RETURNS SETOF record LANGUAGE sql IMMUTABLE AS $$
    SELECT u.grant_id, CASE l.kind WHEN 'REFUND' THEN -u.ucr ELSE u.ucr END
      FROM unnest(burned_grants_of(l), burned_ucr_of(l)) AS u (grant_id, ucr)
     WHERE l.kind <> 'TRANSFER_IN'
$$;
