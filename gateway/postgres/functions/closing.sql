-- Closing a month of the ledger and letting it go. Only the schema's owner may; each function is one transaction.

-- Whether the month that the id belongs to takes no more rows.
CREATE OR REPLACE FUNCTION month_is_closed(p_id uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM ledger_month WHERE closed_at IS NOT NULL AND p_id >= first_id AND p_id < end_id)
$$;


CREATE OR REPLACE FUNCTION ledger_month_table(p_first date) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'ledger_' || to_char(p_first, 'YYYY_MM')
$$;


-- Where the books of an account begin: the last closing of a month that has left, or nothing at all.
CREATE OR REPLACE FUNCTION closing_of(p_org uuid, p_account uuid, OUT through_version bigint, OUT balance_ucr bigint,
                           OUT receivable_ucr bigint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT c.through_version, c.balance_ucr, c.receivable_ucr INTO through_version, balance_ucr, receivable_ucr
      FROM ledger_closing c JOIN ledger_month m ON m.first_day = c.first_day
     WHERE c.org_id = p_org AND c.account_id = p_account AND m.detached_at IS NOT NULL
     ORDER BY c.through_version DESC
     LIMIT 1;
    through_version := coalesce(through_version, 0);
    balance_ucr := coalesce(balance_ucr, 0);
    receivable_ucr := coalesce(receivable_ucr, 0);
END
$$;


-- What closings say that rows burned of each grant of the account.
CREATE OR REPLACE FUNCTION burned_before(p_org uuid, p_account uuid) RETURNS TABLE (grant_id uuid, ucr bigint) LANGUAGE sql STABLE AS $$
    SELECT c.grant_id, sum(c.burned_ucr)::bigint
      FROM ledger_closing_grant c JOIN ledger_month m ON m.first_day = c.first_day
     WHERE c.org_id = p_org AND c.account_id = p_account AND m.detached_at IS NOT NULL
     GROUP BY c.grant_id
$$;


-- From here on nothing is added to the month. false: it still has open reservations. The lock stops writers of this one
-- partition alone.
CREATE OR REPLACE FUNCTION close_ledger_month(p_first date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    m ledger_month;
BEGIN
    SELECT * INTO STRICT m FROM ledger_month WHERE first_day = p_first FOR UPDATE;
    IF m.closed_at IS NULL THEN
        IF EXISTS (SELECT FROM reservation WHERE id < m.end_id) THEN
            RETURN false;
        END IF;
        EXECUTE format('CREATE TRIGGER ledger_closed BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW '
                       'EXECUTE FUNCTION refuse_closed_month()', ledger_month_table(p_first));
        UPDATE ledger_month SET closed_at = clock_timestamp() WHERE first_day = p_first;
    END IF;
    RETURN true;
END
$$;


-- Takes the closing back, where the books turned out not to be sound.
CREATE OR REPLACE FUNCTION reopen_ledger_month(p_first date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM ledger_closing WHERE first_day = p_first;
    DELETE FROM ledger_closing_grant WHERE first_day = p_first;
    DELETE FROM ledger_closing_row WHERE first_day = p_first;
    UPDATE ledger_month SET closed_at = NULL WHERE first_day = p_first AND detached_at IS NULL;
    EXECUTE format('DROP TRIGGER IF EXISTS ledger_closed ON %I', ledger_month_table(p_first));
END
$$;


-- Writes the closings of a closed month for the next p_most accounts after (p_org, p_account). An account is proven where
-- the audit's checkpoint covers every row of the month; others get no closing, and the month may not leave.
CREATE OR REPLACE FUNCTION write_closings(p_first date, p_org uuid, p_account uuid, p_most integer)
RETURNS TABLE (org_id uuid, account_id uuid, proven boolean) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    m         ledger_month;
    v_through bigint;
BEGIN
    SELECT * INTO STRICT m FROM ledger_month WHERE first_day = p_first AND closed_at IS NOT NULL AND detached_at IS NULL;
    FOR org_id, account_id IN
        SELECT a.org_id, a.account_id FROM account a
         WHERE (a.org_id, a.account_id) > (p_org, p_account) ORDER BY a.org_id, a.account_id LIMIT p_most
    LOOP
        proven := true;
        SELECT max(l.version) INTO v_through
          FROM ledger l WHERE l.account_id = write_closings.account_id AND l.id >= m.first_id AND l.id < m.end_id;
        IF v_through IS NOT NULL THEN
            proven := EXISTS (SELECT FROM audit_checkpoint c
                               WHERE c.org_id = write_closings.org_id AND c.account_id = write_closings.account_id
                                 AND c.version >= v_through);
            IF proven THEN
                PERFORM write_closing(m, org_id, account_id, v_through);
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;


-- Again is as once: rows of a closed month do not change, nor do those below its highest version.
CREATE OR REPLACE FUNCTION write_closing(m ledger_month, p_org uuid, p_account uuid, p_through bigint) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    v_before record;
    v_rolled bigint;
BEGIN
    v_before := closing_of(p_org, p_account);
    DELETE FROM ledger_closing c WHERE c.org_id = p_org AND c.account_id = p_account AND c.first_day = m.first_day;
    DELETE FROM ledger_closing_grant c WHERE c.org_id = p_org AND c.account_id = p_account AND c.first_day = m.first_day;
    -- Where a call of an earlier month ended after all of these, that month's closing already covers them.
    INSERT INTO ledger_closing (org_id, account_id, first_day, through_version, balance_ucr, receivable_ucr)
    SELECT p_org, p_account, m.first_day, p_through, v_before.balance_ucr + sum(l.amount_ucr),
           v_before.receivable_ucr + sum(owed_by(l))
      FROM ledger l
     WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > v_before.through_version AND l.version <= p_through
    HAVING count(*) > 0;
    INSERT INTO ledger_closing_grant (org_id, grant_id, first_day, account_id, burned_ucr, unused_ucr)
    SELECT p_org, u.grant_id, m.first_day, p_account, sum(u.burned), sum(u.unused)
      FROM (SELECT b.grant_id, b.ucr AS burned, 0 AS unused
              FROM ledger l CROSS JOIN burns_of(l) AS b
             WHERE l.org_id = p_org AND l.account_id = p_account AND l.version > v_before.through_version AND l.version <= p_through
             UNION ALL
            SELECT l.ref_id, 0, l.amount_ucr
              FROM ledger l
             WHERE l.org_id = p_org AND l.account_id = p_account AND l.id >= m.first_id AND l.id < m.end_id
               AND l.kind IN ('EXPIRY', 'VOID')) AS u
     GROUP BY u.grant_id;
    INSERT INTO ledger_closing_row (org_id, id, first_day, account_id, kind, amount_ucr, ref_id)
    SELECT l.org_id, l.id, m.first_day, l.account_id, l.kind, l.amount_ucr, l.ref_id
      FROM ledger l
     WHERE l.org_id = p_org AND l.account_id = p_account AND l.id >= m.first_id AND l.id < m.end_id
       AND l.kind IN ('TRANSFER_OUT', 'TRANSFER_IN') AND l.ref_id >= m.end_id
        ON CONFLICT DO NOTHING;
    -- What keys used is summed up when somebody asks, from rows that would then be gone.
    SELECT coalesce(max(k.version), 0) INTO v_rolled FROM key_day_progress k WHERE k.org_id = p_org AND k.account_id = p_account;
    IF v_rolled < p_through THEN
        PERFORM roll_up_key_days(p_org, p_account, p_through - v_rolled);
    END IF;
END
$$;


-- Lets a closed month go: detached, marked, and its closings in force, all in one commit, so that no audit sees one without
-- the other. The lock is on the whole ledger and for a moment: nothing here reads more than a few rows. Without that lock
-- Postgres detaches nothing where there is a partition for the rest.
CREATE OR REPLACE FUNCTION detach_ledger_month(p_first date, p_rows bigint, p_keep_table boolean) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    m       ledger_month;
    v_table text := ledger_month_table(p_first);
BEGIN
    LOCK TABLE ONLY ledger IN ACCESS EXCLUSIVE MODE;
    SELECT * INTO STRICT m FROM ledger_month WHERE first_day = p_first AND closed_at IS NOT NULL AND detached_at IS NULL;
    UPDATE ledger_closing_row k SET refunded_ucr = k.refunded_ucr + r.ucr
      FROM (SELECT l.org_id, l.ref_id, sum(l.amount_ucr) AS ucr
              FROM ledger l
             WHERE l.kind = 'REFUND' AND l.ref_id < m.first_id AND l.id >= m.first_id AND l.id < m.end_id
             GROUP BY l.org_id, l.ref_id) AS r
     WHERE k.org_id = r.org_id AND k.id = r.ref_id;
    INSERT INTO ledger_closing_row (org_id, id, first_day, account_id, kind, amount_ucr, ref_id, charged_ucr, refunded_ucr)
    SELECT c.org_id, c.id, m.first_day, c.account_id, c.kind, c.amount_ucr, c.ref_id, charged_ucr(c),
           refunded_ucr(c.org_id, c.id) - r.ucr
      FROM (SELECT l.org_id, l.ref_id, sum(l.amount_ucr) AS ucr
              FROM ledger l
             WHERE l.kind = 'REFUND' AND l.ref_id >= m.first_id AND l.ref_id < m.end_id AND l.id >= m.end_id
             GROUP BY l.org_id, l.ref_id) AS r
      JOIN ledger c ON c.org_id = r.org_id AND c.id = r.ref_id;
    EXECUTE format('ALTER TABLE ledger DETACH PARTITION %I', v_table);
    IF NOT p_keep_table THEN
        EXECUTE format('DROP TABLE %I', v_table);
    ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
        EXECUTE format('REVOKE INSERT ON %I FROM tollgate_app', v_table);
    END IF;
    UPDATE ledger_month SET detached_at = clock_timestamp(), archived_rows = p_rows, table_kept = p_keep_table
     WHERE first_day = p_first;
END
$$;
