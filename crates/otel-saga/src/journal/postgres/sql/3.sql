-- The instances of each worker and definition, so that a takeover reads only those of its own definitions.
CREATE INDEX instance_left ON instance (owner, saga, version, id) WHERE status = 0 AND owner IS NOT NULL;
DROP INDEX instance_owner;
