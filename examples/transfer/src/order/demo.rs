//! The orders: one that is completed, one that is undone, and one whose process is killed.

use std::path::{Path, PathBuf};

use super::shop::OpenShop;
use crate::Failure;
use crate::stage::Stage;
use crate::victim::{Death, kill};

pub(crate) async fn play(stage: &mut Stage, folder: &Path) -> Result<(), Failure> {
    let shop = OpenShop::open(stage, &folder.join("shop"), None)?;
    let ended = orders(stage, &shop).await;
    shop.close().await;
    ended?;
    crash(stage, folder).await
}

async fn orders(stage: &mut Stage, shop: &OpenShop) -> Result<(), Failure> {
    println!("An order is a saga: one step after the other, each in the journal before it is made.");
    order(shop, "1", "ada").await?;
    stage.draw().await?;

    println!("Grace has not enough money: the payment is refused, and what was done before is undone.");
    order(shop, "2", "grace").await?;
    stage.draw().await
}

async fn order(shop: &OpenShop, number: &str, customer: &str) -> Result<(), Failure> {
    println!("  {customer} orders a teapot");
    let id = shop.order(number, customer).await?;
    println!("  {id} is {}", shop.end_of(&id).await?.as_str());
    Ok(())
}

/// Where the shop is that is killed: its journal, and its services' files.
fn killed(folder: &Path) -> PathBuf {
    folder.join("killed-shop")
}

async fn crash(stage: &mut Stage, folder: &Path) -> Result<(), Failure> {
    println!("Another process is killed when the money was taken, and before the journal knows it.");
    kill(&["--order-victim".as_ref(), folder.as_os_str()], &[]).await?;
    println!("This process goes on: the payment is asked again under its key, and the bank has it already.");
    let shop = OpenShop::open(stage, &killed(folder), None)?;
    println!("  order/3 is {}", shop.end_of("order/3").await?.as_str());
    shop.close().await;
    stage.draw().await
}

/// The process that is killed.
pub(crate) async fn victim(folder: &Path) -> Result<(), Failure> {
    let mut stage = Stage::new(folder);
    let shop = OpenShop::open(&mut stage, &killed(folder), Some(Death))?;
    order(&shop, "3", "edsger").await
}
