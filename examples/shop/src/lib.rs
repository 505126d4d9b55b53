//! The common part of the shop's services: their start, the protocol between them, and their messages.

mod kafka;
pub mod ledger;
mod messages;
mod pb;
mod rabbitmq;
pub mod receiver;
mod service;
pub mod stage;

use std::error::Error;

pub use crate::messages::{
    INVOICES, ORDER_PLACED, Order, OrderResult, RETRY_DELAY, SHIPMENTS, SHIPPED, TAKE, TIER,
};
pub use crate::pb::{FILE_DESCRIPTOR_SET, shop as proto};
pub use crate::rabbitmq::open_invoices;
pub use crate::service::{Service, run, setting, setting_or};

/// The error of a service.
pub type Failure = Box<dyn Error + Send + Sync>;
