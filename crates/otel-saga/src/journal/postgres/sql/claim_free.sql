-- Claims due instances without an owner, and skips those that another claim has locked. Starts where the last claim ended,
-- because before that the index is full of claimed rows until it is vacuumed.
WITH free AS MATERIALIZED (
    SELECT id FROM instance
    WHERE status = 0 AND owner IS NULL AND due >= $3 AND due <= journal_now()
    ORDER BY due LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE instance SET owner = $1, epoch = epoch + 1 FROM free WHERE instance.id = free.id
RETURNING instance.id, saga, version, status, created, changed, due, owner, head, epoch
