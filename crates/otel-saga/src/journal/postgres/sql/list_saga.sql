-- Reads a page per status from the index, where each is in order, and returns the first rows of all pages.
SELECT page.* FROM unnest($4::smallint[]) AS wanted (status), LATERAL (
    SELECT id, saga, version, status, created, changed, due, owner, head, epoch
    FROM instance WHERE saga = $3 AND status = wanted.status AND id > $1 ORDER BY id LIMIT $2
) AS page ORDER BY page.id LIMIT $2
