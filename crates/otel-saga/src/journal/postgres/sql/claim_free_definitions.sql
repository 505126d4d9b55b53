-- As claim_free.sql, for these definitions only ($4, $5). Each definition is read in its part of the index, however many
-- instances of others are due. Locks more rows than it claims if several definitions have many; other claims skip these
-- until this statement has ended.
WITH free AS MATERIALIZED (
    SELECT page.id FROM unnest($4::text[], $5::bigint[]) AS wanted (saga, version), LATERAL (
        SELECT id, due FROM instance
        WHERE status = 0 AND owner IS NULL AND instance.saga = wanted.saga AND instance.version = wanted.version
            AND due >= $3 AND due <= journal_now()
        ORDER BY due LIMIT $2
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS page ORDER BY page.due LIMIT $2
)
UPDATE instance SET owner = $1, epoch = epoch + 1 FROM free WHERE instance.id = free.id
RETURNING instance.id, saga, version, status, created, changed, due, owner, head, epoch
