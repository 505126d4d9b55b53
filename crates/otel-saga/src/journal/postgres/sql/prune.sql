WITH gone AS MATERIALIZED (
    SELECT id FROM instance WHERE ended IS NOT NULL AND ended < journal_now() - $1
    ORDER BY ended LIMIT $2
    FOR UPDATE SKIP LOCKED
), records AS (
    DELETE FROM record USING gone WHERE record.id = gone.id
), instances AS (
    DELETE FROM instance USING gone WHERE instance.id = gone.id RETURNING 1
)
SELECT count(*) FROM instances
