SELECT $1 IS NOT DISTINCT FROM (SELECT worker FROM lease WHERE until > journal_now() ORDER BY worker LIMIT 1)
