-- A page for each status, from the index that has them in order, and of these the first.
SELECT page.* FROM unnest($4::smallint[]) AS wanted (status), LATERAL (
    SELECT id, saga, version, status, created, changed, due, owner, head, epoch
    FROM instance WHERE saga = $3 AND status = wanted.status AND id > $1 ORDER BY id LIMIT $2
) AS page ORDER BY page.id LIMIT $2
