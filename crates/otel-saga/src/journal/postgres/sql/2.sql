-- The identity of the journal, by which participants of two-phase commits recognize it.
CREATE TABLE identity (
    id text NOT NULL
);
INSERT INTO identity VALUES (gen_random_uuid()::text);

-- The due instances of each definition, so that a worker reads only those of its own.
CREATE INDEX instance_due_definition ON instance (saga, version, due) WHERE status = 0 AND owner IS NULL;
