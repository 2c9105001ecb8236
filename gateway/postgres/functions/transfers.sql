-- Credits that go from one account of an organisation to another.

-- Both accounts are locked, up to date and not the same, and p_ucr is available in the first; the caller saves both. Each
-- grant that is burned here lives on there, with its priority, category and end: moving credits makes them no better.
CREATE OR REPLACE FUNCTION move_credits(INOUT a_from account, INOUT a_to account, p_ucr bigint, p_now timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    b       record := burn(a_from, p_ucr, NULL);
    v_out   uuid;
    v_in    uuid;
    v_grant uuid;
BEGIN
    FOR i IN 1 .. coalesce(cardinality(b.grants), 0) LOOP
        v_out := new_ledger_id(p_now);
        v_in := new_ledger_id(p_now);
        v_grant := new_ledger_id(p_now);
        INSERT INTO credit_grant (org_id, id, account_id, kind, category, priority, amount_ucr, remaining_ucr, effective_at, expires_at,
                                  activated_at, source_id, reason, created_at)
        SELECT org_id, v_grant, a_to.account_id, 'transfer_in', category, priority, b.burned_ucr[i], b.burned_ucr[i], p_now, expires_at,
               p_now, id, 'TRANSFER', p_now
          FROM credit_grant WHERE org_id = a_from.org_id AND id = b.grants[i];
        a_from.balance_ucr := a_from.balance_ucr - b.burned_ucr[i];
        a_from.version := a_from.version + 1;
        a_to.balance_ucr := a_to.balance_ucr + b.burned_ucr[i];
        a_to.version := a_to.version + 1;
        INSERT INTO ledger (org_id, id, account_id, version, kind, contra, amount_ucr, balance_after_ucr, reason, ref_id, created_at,
                            burned_grants, burned_ucr)
        VALUES (a_from.org_id, v_out, a_from.account_id, a_from.version, 'TRANSFER_OUT', 'transfer', -b.burned_ucr[i],
                a_from.balance_ucr, 'TRANSFER', v_in, p_now, ARRAY[b.grants[i]], ARRAY[b.burned_ucr[i]]),
               (a_to.org_id, v_in, a_to.account_id, a_to.version, 'TRANSFER_IN', 'transfer', b.burned_ucr[i],
                a_to.balance_ucr, 'TRANSFER', v_out, p_now, NULL, NULL);
    END LOOP;
    a_to.next_change_at := least(a_to.next_change_at, (SELECT min(expires_at) FROM credit_grant
                                                        WHERE org_id = a_from.org_id AND id = ANY (b.grants)));
    a_to := repay(a_to, p_now, NULL);
END
$$;
