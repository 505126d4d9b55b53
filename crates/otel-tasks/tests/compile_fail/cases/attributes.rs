//! Structs whose attributes cannot be derived.

use otel_tasks::Attributes;

#[derive(Attributes)]
struct NothingListed {
    secret: String,
}

#[derive(Attributes)]
struct UnknownOption {
    #[attribute(name = "id")]
    id: u64,
}

#[derive(Attributes)]
struct Twice {
    #[attribute]
    #[attribute(debug)]
    id: u64,
}

#[derive(Attributes)]
struct Tuple(u64);

#[derive(Attributes)]
enum State {
    Paid,
}

fn main() {}
