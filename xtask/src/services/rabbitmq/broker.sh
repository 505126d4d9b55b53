#!/bin/sh
# broker FOLDER PORT DISTRIBUTION_PORT EPMD_PORT
#
# Runs a RabbitMQ broker on 127.0.0.1:PORT until it is stopped. Its data is below FOLDER: a new folder is an empty broker,
# the same one again continues with its data. The other ports are for the broker's own use, on the loopback address too.
#
# The process that was started becomes the broker itself: to kill it is to crash the broker. SIGTERM stops it in order.
# The user `guest` may do everything; `reader`, whose password is its name, may not write. The size limit of messages is that
# of RabbitMQ 3, for newer ones as well.
set -eu
if [ $# -ne 4 ]; then
    echo "usage: $0 FOLDER PORT DISTRIBUTION_PORT EPMD_PORT" >&2
    exit 2
fi
server=/usr/lib/rabbitmq/bin/rabbitmq-server
if [ ! -x "$server" ]; then
    # A package of another system: its program runs under any user.
    server=$(command -v rabbitmq-server)
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cat >"$folder/rabbitmq.conf" <<END
listeners.tcp.1 = 127.0.0.1:$2
load_definitions = $folder/definitions.json
max_message_size = 134217728
log.console = true
log.console.level = info
log.file = false
END
cat >"$folder/definitions.json" <<END
{
  "vhosts": [{"name": "/"}],
  "users": [
    {"name": "guest", "password": "guest", "tags": "administrator"},
    {"name": "reader", "password": "reader", "tags": ""}
  ],
  "permissions": [
    {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
    {"user": "reader", "vhost": "/", "configure": ".*", "write": "^$", "read": ".*"}
  ]
}
END
echo '[].' >"$folder/enabled_plugins"
# The cookie of the distribution is in the home folder.
export HOME="$folder"
export ERL_EPMD_PORT="$4" ERL_EPMD_ADDRESS=127.0.0.1
export RABBITMQ_NODENAME=rabbit@localhost
export RABBITMQ_DIST_PORT="$3"
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
export RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf"
export RABBITMQ_CONF_ENV_FILE=/dev/null
export RABBITMQ_MNESIA_BASE="$folder/data"
export RABBITMQ_LOG_BASE="$folder/log"
export RABBITMQ_ENABLED_PLUGINS_FILE="$folder/enabled_plugins"
export RABBITMQ_FEATURE_FLAGS_FILE="$folder/feature_flags"
mkdir -p "$folder/data" "$folder/log"
# That of a broker which was killed ends within a second, and holds the port until then.
tries=0
while [ "$tries" -lt 50 ] && epmd -names >/dev/null 2>&1; do
    sleep 0.2
    tries=$((tries + 1))
done
# Started here, because one that the broker starts would outlive it.
epmd </dev/null &
epmd=$!
(
    while kill -0 $$ 2>/dev/null; do sleep 1; done
    kill "$epmd"
) </dev/null >/dev/null 2>&1 &
# Makes the script become the broker instead of its parent.
export RUNNING_UNDER_SYSTEMD=true
exec "$server" </dev/null
