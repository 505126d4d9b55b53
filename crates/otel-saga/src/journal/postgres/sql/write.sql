-- A batch of creations and appends, each of which is carried out only if the id is free or the instance is at its
-- cursor. The statement is one transaction, and returns the numbers of the jobs that were carried out.
WITH creates AS (
    SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
        AS one (n, id, saga, version, owner, records)
), created AS (
    INSERT INTO instance (id, saga, version, status, created, changed, due, owner, head, epoch)
    SELECT id, saga, version, 0, journal_now(), journal_now(), journal_now(), owner, records, 1 FROM creates
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), appended AS (
    UPDATE instance SET
        head = instance.head + one.records,
        changed = journal_now(),
        status = one.status,
        due = CASE
            WHEN one.delay IS NOT NULL THEN journal_now() + one.delay
            WHEN one.stays AND instance.owner IS NULL THEN journal_now()
            ELSE instance.due
        END,
        owner = CASE WHEN one.stays THEN instance.owner END,
        ended = CASE WHEN one.status >= 2 THEN journal_now() END
    FROM unnest(
        $7::integer[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::smallint[], $13::bigint[],
        $14::boolean[]
    ) AS one (n, id, head, epoch, records, status, delay, stays)
    WHERE instance.id = one.id AND instance.head = one.head AND instance.epoch = one.epoch
    RETURNING one.n
), done AS (
    SELECT n FROM created JOIN creates USING (id)
    UNION ALL
    SELECT n FROM appended
), recorded AS (
    INSERT INTO record (id, place, body)
    SELECT id, place, body
    FROM unnest($15::integer[], $16::text[], $17::bigint[], $18::bytea[]) AS one (n, id, place, body)
    JOIN done USING (n)
)
SELECT n FROM done
