//! The orders: one completes, one is compensated, and the process of one is killed.

use std::path::{Path, PathBuf};

use super::shop::OpenShop;
use crate::Failure;
use crate::stage::Stage;
use crate::victim::{KillPoint, kill};

pub(crate) async fn run(stage: &mut Stage, folder: &Path) -> Result<(), Failure> {
    let shop = OpenShop::open(stage, &folder.join("shop"), None)?;
    let result = orders(stage, &shop).await;
    shop.close().await;
    result?;
    crash(stage, folder).await
}

async fn orders(stage: &mut Stage, shop: &OpenShop) -> Result<(), Failure> {
    println!("An order is a saga: each step is written to the journal before it runs.");
    order(shop, "1", "ada").await?;
    stage.draw().await?;

    println!("Grace does not have enough money: the payment is refused, and the reservation is undone.");
    order(shop, "2", "grace").await?;
    stage.draw().await
}

async fn order(shop: &OpenShop, number: &str, customer: &str) -> Result<(), Failure> {
    println!("  {customer} orders a teapot");
    let id = shop.order(number, customer).await?;
    println!("  {id} is {}", shop.end_of(&id).await?.as_str());
    Ok(())
}

/// The folder of the shop that is killed, with its journal and the files of its services.
fn killed_shop(folder: &Path) -> PathBuf {
    folder.join("killed-shop")
}

async fn crash(stage: &mut Stage, folder: &Path) -> Result<(), Failure> {
    println!("Another process is killed after the charge, before the journal has recorded it.");
    kill(&["--order-victim".as_ref(), folder.as_os_str()], &[]).await?;
    println!(
        "This process recovers the order: it repeats the payment with the same key, and the bank returns the stored result."
    );
    let shop = OpenShop::open(stage, &killed_shop(folder), None)?;
    println!("  order/3 is {}", shop.end_of("order/3").await?.as_str());
    shop.close().await;
    stage.draw().await
}

/// Runs in the child process that is killed.
pub(crate) async fn victim(folder: &Path) -> Result<(), Failure> {
    let mut stage = Stage::new(folder);
    let shop = OpenShop::open(&mut stage, &killed_shop(folder), Some(KillPoint))?;
    order(&shop, "3", "edsger").await
}
