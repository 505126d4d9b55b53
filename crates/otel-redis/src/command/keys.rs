//! The place of the first key among the arguments of a command.
//!
//! Follows the [key specifications of Redis](https://redis.io/docs/latest/develop/reference/key-specs/).

/// The place of a command's first key. The name of the command is at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstKey {
    At(usize),
    /// After the number of keys, which is at this place.
    AfterCount(usize),
    /// The command has no key, or its place depends on options.
    Unknown,
}

/// The commands without a key, or with one at a place that depends on options. Among them are those of channels, whose first
/// argument looks like a key and is none.
const WITHOUT: &[&str] = &[
    "ACL",
    "ASKING",
    "AUTH",
    "BGREWRITEAOF",
    "BGSAVE",
    "CLIENT",
    "CLUSTER",
    "COMMAND",
    "CONFIG",
    "DBSIZE",
    "DISCARD",
    "ECHO",
    "EXEC",
    "FAILOVER",
    "FLUSHALL",
    "FLUSHDB",
    "FUNCTION",
    "HELLO",
    "INFO",
    "KEYS",
    "LASTSAVE",
    "LATENCY",
    "LOLWUT",
    "MIGRATE",
    "MODULE",
    "MONITOR",
    "MULTI",
    "PING",
    "PSUBSCRIBE",
    "PSYNC",
    "PUBLISH",
    "PUBSUB",
    "PUNSUBSCRIBE",
    "QUIT",
    "RANDOMKEY",
    "READONLY",
    "READWRITE",
    "REPLCONF",
    "REPLICAOF",
    "RESET",
    "ROLE",
    "SAVE",
    "SCAN",
    "SCRIPT",
    "SELECT",
    "SHUTDOWN",
    "SLAVEOF",
    "SLOWLOG",
    "SPUBLISH",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SWAPDB",
    "SYNC",
    "TIME",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WAIT",
    "WAITAOF",
    "XREAD",
    "XREADGROUP",
];

/// The commands whose first key is their second argument.
const SECOND: &[&str] = &["BITOP", "DEBUG", "MEMORY", "OBJECT", "XGROUP", "XINFO"];

/// The commands whose first argument is the number of keys.
const COUNTED: &[&str] = &["LMPOP", "SINTERCARD", "ZDIFF", "ZINTER", "ZINTERCARD", "ZMPOP", "ZUNION"];

/// The commands whose second argument is the number of keys.
const COUNTED_SECOND: &[&str] =
    &["BLMPOP", "BZMPOP", "EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"];

/// Returns the place of the first key of a command. One that is unknown has it at 1, as most commands of Redis and of its
/// modules.
pub(super) fn first_key(name: &str) -> FirstKey {
    let is_in = |list: &[&str]| super::is_in(list, name);
    if is_in(WITHOUT) {
        FirstKey::Unknown
    } else if is_in(SECOND) {
        FirstKey::At(2)
    } else if is_in(COUNTED) {
        FirstKey::AfterCount(1)
    } else if is_in(COUNTED_SECOND) {
        FirstKey::AfterCount(2)
    } else {
        FirstKey::At(1)
    }
}
