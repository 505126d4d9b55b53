//! The messages of the shop, and the names under which they are sent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The topic of orders that were paid.
pub const ORDER_PLACED: &str = "order-placed";
/// The subject of requests to take items from the shelf.
pub const TAKE: &str = "stock.take";
/// The queue of invoices to write.
pub const INVOICES: &str = "invoices";
/// The subject of parcels that have left.
pub const SHIPPED: &str = "shipped";
/// The stream of [`SHIPPED`].
pub const SHIPMENTS: &str = "SHIPMENTS";
/// The member of the baggage with the customer's tier, which the gateway sets.
pub const TIER: &str = "shop.tier";

/// The time after which a service tries again to reach a server.
pub const RETRY_DELAY: Duration = Duration::from_millis(500);

/// An order, as it crosses all services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a message")]
pub struct Order {
    /// The number of the order. A repeated request with the same one has no further effect.
    pub number: String,
    /// The name of the customer.
    pub customer: String,
    /// The name of the item.
    pub item: String,
    /// The number of items.
    pub quantity: i64,
    /// The price of all items in cents. The gateway sets it.
    #[serde(default)]
    pub cents: i64,
}

/// The end of an order, as the orders service responds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a message")]
pub struct OrderResult {
    /// The status of the saga: `completed`, or `compensated` where the order was undone.
    pub status: String,
    /// The names of items that go with this one.
    #[serde(default)]
    pub suggestions: Vec<String>,
    /// The id of the trace, for questions about the order. The gateway sets it.
    #[serde(default)]
    pub trace: String,
}
