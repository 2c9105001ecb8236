-- Periods and their parts.

CREATE OR REPLACE FUNCTION zone_of(p_org uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT time_zone FROM credit_policy WHERE org_id = p_org), 'UTC')
$$;


-- Where the n-th period after the anchor begins: counted from the anchor each time, so that the 31st comes back after
-- February, and on the wall's clock, so that midnight stays midnight. An hour that a zone skips is the one after it.
CREATE OR REPLACE FUNCTION period_boundary(p_anchor timestamp, p_period text, p_n integer, p_zone text) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT (p_anchor + p_n * CASE p_period WHEN 'day' THEN interval '1 day' WHEN 'week' THEN interval '7 days'
                                           WHEN 'month' THEN interval '1 month' WHEN 'year' THEN interval '1 year' END)
           AT TIME ZONE p_zone
$$;


-- The first boundary past an instant, counting on from period n. A zone may skip a day, or be another since.
CREATE OR REPLACE FUNCTION next_boundary(p_anchor timestamp, p_period text, p_zone text, p_past timestamptz, INOUT n integer, OUT at timestamptz)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    LOOP
        n := n + 1;
        at := period_boundary(p_anchor, p_period, n, p_zone);
        EXIT WHEN at > p_past;
    END LOOP;
END
$$;


-- The part of an amount that belongs to what is left of a period, in whole ucr. Rounded down for what comes and up for what
-- leaves: so whoever changes back and forth loses what the rounding takes, and gains nothing.
CREATE OR REPLACE FUNCTION share_left(p_ucr bigint, p_start timestamptz, p_end timestamptz, p_now timestamptz, p_up boolean) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT div(p_ucr * t.left_us + CASE WHEN p_up THEN t.whole_us - 1 ELSE 0 END, t.whole_us)::bigint
      FROM (SELECT extract(epoch FROM p_end - p_now) * 1000000 AS left_us, extract(epoch FROM p_end - p_start) * 1000000 AS whole_us) AS t
$$;
