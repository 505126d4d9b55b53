-- Replaces all records of an instance from a position on ($4) by these ($5), if it is at this cursor. Positions that stay
-- are updated and the others deleted: a row that one statement deletes and inserts can violate the key.
WITH replaced AS (
    UPDATE instance SET head = $4 + cardinality($5::bytea[]), epoch = epoch + 1, changed = journal_now()
    WHERE id = $1 AND head = $2 AND epoch = $3 AND $4 + cardinality($5::bytea[]) <= head
    RETURNING id, head
), rewritten AS (
    UPDATE record SET body = one.body
    FROM replaced, unnest($5::bytea[]) WITH ORDINALITY AS one (body, number)
    WHERE record.id = replaced.id AND record.place = $4 + one.number - 1
), removed AS (
    DELETE FROM record USING replaced WHERE record.id = replaced.id AND record.place >= replaced.head
)
SELECT EXISTS (SELECT FROM replaced)
