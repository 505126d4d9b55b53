-- An instance and its records, in one statement so that both are from the same snapshot.
SELECT id, saga, version, status, created, changed, due, owner, head, epoch,
    ARRAY(SELECT body FROM record WHERE record.id = instance.id ORDER BY place) AS bodies,
    (SELECT max(place) FROM record WHERE record.id = instance.id) AS last
FROM instance WHERE id = $1
