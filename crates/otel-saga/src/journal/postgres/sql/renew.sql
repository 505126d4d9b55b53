-- Extends the worker's lease to this length from now, and deletes long-expired ones, because a missing row means the
-- same.
WITH mine AS (
    INSERT INTO lease (worker, until) VALUES ($1, journal_now() + $2)
    ON CONFLICT (worker) DO UPDATE SET until = excluded.until
)
DELETE FROM lease WHERE worker IN (
    SELECT worker FROM lease WHERE until < journal_now() - 3600000 AND worker <> $1
    FOR UPDATE SKIP LOCKED
)
