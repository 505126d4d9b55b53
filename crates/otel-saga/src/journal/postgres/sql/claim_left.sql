-- Claims the instances that a worker whose lease has expired has of one definition: of the first such worker and definition
-- behind the end of the last claim ($4 to $7) that has any, among these definitions ($8, $9; null: all).
-- Workers and definitions are found by steps from one to the next in the index, without reading all instances, and
-- live workers are passed over in one step. The instances in $3 are excluded: they were just claimed by this worker, which
-- may have no lease.
WITH RECURSIVE part (owner, saga, version, is_live) AS (
    (
        SELECT owner, saga, version, EXISTS (SELECT FROM lease WHERE worker = owner AND until > journal_now())
        FROM instance
        WHERE status = 0 AND owner IS NOT NULL AND (owner, saga, version, id) > ($4, $5, $6, $7)
        ORDER BY owner, saga, version, id LIMIT 1
    )
    UNION ALL
    SELECT next.owner, next.saga, next.version,
        EXISTS (SELECT FROM lease WHERE worker = next.owner AND until > journal_now())
    FROM part, LATERAL (
        (
            SELECT owner, saga, version FROM instance
            WHERE part.is_live AND status = 0 AND owner IS NOT NULL AND owner > part.owner
            ORDER BY owner, saga, version LIMIT 1
        )
        UNION ALL
        (
            SELECT owner, saga, version FROM instance
            WHERE NOT part.is_live AND status = 0 AND owner IS NOT NULL
                AND (owner, saga, version) > (part.owner, part.saga, part.version)
            ORDER BY owner, saga, version LIMIT 1
        )
    ) AS next
), place AS (
    SELECT owner, saga, version, CASE WHEN (owner, saga, version) = ($4, $5, $6) THEN $7 ELSE '' END AS after
    FROM part
    WHERE NOT is_live
        AND ($8::text[] IS NULL OR (saga, version) IN (SELECT * FROM unnest($8::text[], $9::bigint[])))
), dead AS MATERIALIZED (
    SELECT place.* FROM place, LATERAL (
        SELECT FROM instance
        WHERE status = 0 AND instance.owner IS NOT NULL
            AND (instance.owner, instance.saga, instance.version, id)
                > (place.owner, place.saga, place.version, place.after)
            AND (instance.owner, instance.saga, instance.version) <= (place.owner, place.saga, place.version)
            AND due <= journal_now() AND id <> ALL ($3)
        ORDER BY instance.owner, instance.saga, instance.version, id LIMIT 1
    ) AS any_instance
    LIMIT 1
), left_over AS MATERIALIZED (
    SELECT page.id, dead.owner FROM dead, LATERAL (
        SELECT id FROM instance
        WHERE status = 0 AND instance.owner IS NOT NULL
            AND (instance.owner, instance.saga, instance.version, id)
                > (dead.owner, dead.saga, dead.version, dead.after)
            AND (instance.owner, instance.saga, instance.version) <= (dead.owner, dead.saga, dead.version)
            AND due <= journal_now() AND id <> ALL ($3)
        ORDER BY instance.owner, instance.saga, instance.version, id LIMIT $2
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS page
)
UPDATE instance SET owner = $1, epoch = epoch + 1 FROM left_over WHERE instance.id = left_over.id
RETURNING instance.id, saga, version, status, created, changed, due, instance.owner, head, epoch, left_over.owner
