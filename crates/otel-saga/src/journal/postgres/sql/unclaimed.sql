-- Running instances that any worker could have claimed for this time: they have not changed, and were due, or the lease
-- of their owner had expired.
SELECT id, saga, version, status, created, changed, due, owner, head, epoch
FROM instance
WHERE status = 0 AND changed <= journal_now() - $1 AND (
    owner IS NULL AND due <= journal_now() - $1
    OR owner IS NOT NULL AND NOT EXISTS (
        SELECT FROM lease WHERE worker = owner AND until > journal_now() - $1
    )
)
ORDER BY changed LIMIT $2
