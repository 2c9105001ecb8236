-- Snapshots that keep vacuum from its work.

-- How long the oldest snapshot of this database has been open, in seconds: of a session, or of a transaction that was
-- prepared and left. As the schema's owner sees it, because the application's role is not shown what others do.
CREATE OR REPLACE FUNCTION oldest_snapshot_s() RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT coalesce(extract(epoch FROM clock_timestamp() - least(
               (SELECT min(xact_start) FROM pg_stat_activity
                 WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()),
               (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database()))), 0)
$$;
