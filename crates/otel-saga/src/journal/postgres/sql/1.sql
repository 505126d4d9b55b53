-- Instances without their records. Times are milliseconds since the Unix epoch by this server's clock. Most appends
-- change only `head` and `changed`, which no index contains, so that the new version of the row stays in its page.
CREATE TABLE instance (
    id text COLLATE "C" PRIMARY KEY,
    saga text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    status smallint NOT NULL, -- 0 running, 1 parked, 2 completed, 3 compensated
    created bigint NOT NULL,
    changed bigint NOT NULL,
    due bigint NOT NULL,
    ended bigint,
    owner text COLLATE "C",
    head bigint NOT NULL,
    epoch bigint NOT NULL
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- Due instances, owned instances, and instances that can be pruned.
CREATE INDEX instance_due ON instance (due) WHERE status = 0 AND owner IS NULL;
CREATE INDEX instance_owner ON instance (owner, id) WHERE status = 0 AND owner IS NOT NULL;
CREATE INDEX instance_ended ON instance (ended) WHERE ended IS NOT NULL;
-- Lists and counts.
CREATE INDEX instance_saga ON instance (saga, status, id) INCLUDE (created);
CREATE INDEX instance_status ON instance (status, id);

CREATE TABLE record (
    id text COLLATE "C" NOT NULL,
    place bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (id, place)
);

-- The expiry of each worker's lease. A worker without a row has none.
CREATE TABLE lease (
    worker text COLLATE "C" PRIMARY KEY,
    until bigint NOT NULL
);

CREATE FUNCTION journal_now() RETURNS bigint LANGUAGE sql STABLE AS
    'SELECT (extract(epoch FROM statement_timestamp()) * 1000)::bigint';
