-- Gives a worker what is due and has none, and skips what another one is just being given. It begins where the last
-- claim has ended: before that, the index is full of what was claimed, until it is vacuumed.
WITH free AS MATERIALIZED (
    SELECT id FROM instance
    WHERE status = 0 AND owner IS NULL AND due >= $3 AND due <= journal_now()
    ORDER BY due LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE instance SET owner = $1, epoch = epoch + 1 FROM free WHERE instance.id = free.id
RETURNING instance.id, saga, version, status, created, changed, due, owner, head, epoch
