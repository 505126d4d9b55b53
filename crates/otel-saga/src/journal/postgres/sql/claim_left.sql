-- Claims the instances of one worker whose lease has expired: the first such worker behind the end of the last claim
-- that has instances of these definitions ($6, $7; null: all).
-- The names of workers are found by steps from one to the next in the index, without reading all instances of live
-- workers. The instances in $3 are excluded: they were just claimed by this worker, which may have no lease.
WITH RECURSIVE owners (name) AS (
    (
        SELECT owner FROM instance
        WHERE status = 0 AND owner IS NOT NULL AND (owner, id) > ($4, $5) ORDER BY owner, id LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT owner FROM instance
        WHERE status = 0 AND owner IS NOT NULL AND owner > owners.name ORDER BY owner LIMIT 1
    ) FROM owners WHERE owners.name IS NOT NULL
), dead AS MATERIALIZED (
    SELECT name FROM owners WHERE name IS NOT NULL AND NOT EXISTS (
        SELECT FROM lease WHERE worker = name AND until > journal_now()
    ) AND EXISTS (
        SELECT FROM instance
        WHERE status = 0 AND owner IS NOT NULL AND owner = name AND id > CASE WHEN name = $4 THEN $5 ELSE '' END
            AND due <= journal_now() AND id <> ALL ($3)
            AND ($6::text[] IS NULL OR (saga, version) IN (SELECT * FROM unnest($6::text[], $7::bigint[])))
    ) LIMIT 1
), left_over AS MATERIALIZED (
    SELECT id, owner FROM instance
    WHERE status = 0 AND owner IS NOT NULL AND owner = (SELECT name FROM dead)
        -- No row comparison: beside the equality it would make Postgres read the index from the worker's first
        -- instance on.
        AND id > (SELECT CASE WHEN name = $4 THEN $5 ELSE '' END FROM dead)
        AND due <= journal_now()
        AND id <> ALL ($3)
        AND ($6::text[] IS NULL OR (saga, version) IN (SELECT * FROM unnest($6::text[], $7::bigint[])))
    ORDER BY owner, id LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE instance SET owner = $1, epoch = epoch + 1 FROM left_over WHERE instance.id = left_over.id
RETURNING instance.id, saga, version, status, created, changed, due, instance.owner, head, epoch, left_over.owner
