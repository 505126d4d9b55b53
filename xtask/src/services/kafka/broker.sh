#!/bin/sh
# broker FOLDER PORT CONTROLLER_PORT
#
# Runs a Kafka broker on 127.0.0.1:PORT until it is stopped. Its data is below FOLDER: a new folder is an empty broker,
# the same one again goes on with what is there. The second port is for the broker's own use.
#
# The process that was started becomes the broker itself: to kill it is to crash the broker. SIGTERM stops it in order,
# and so does the end of its standard input where that is a pipe: it does not outlive a test that holds the other end.
set -eu
if [ $# -ne 3 ]; then
    echo "usage: $0 FOLDER PORT CONTROLLER_PORT" >&2
    exit 2
fi
lib=$(cd "$(dirname "$0")" && pwd)/lib
mkdir -p "$1"
folder=$(cd "$1" && pwd)
config=$folder/server.properties
cat >"$config" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$2
controller.listener.names=CONTROLLER
log.dirs=$folder/data
END
# A misspelt topic is an error that tests see. Groups form at once and may miss a dead member soon. Few partitions of the
# broker's own topics make a quick start. After a crash the broker waits until its own earlier self is given up.
cat >>"$config" <<END
auto.create.topics.enable=false
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
END
# What formatting writes last.
if [ ! -f "$folder/data/meta.properties" ]; then
    java -cp "$lib/*" kafka.tools.StorageTool format \
        --cluster-id b3RlbC1zZXJ2aWNlcy0wMQ --config "$config" </dev/null
fi
if [ -p /dev/stdin ]; then
    # A shell gives its background jobs no input, unless it comes by another number.
    exec 3<&0
    (
        cat <&3
        kill $$
    ) >/dev/null 2>&1 &
    exec 3<&-
fi
exec java -Xmx512m -Dorg.slf4j.simpleLogger.showDateTime=true \
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS" \
    -cp "$lib/*" kafka.Kafka "$config" </dev/null
