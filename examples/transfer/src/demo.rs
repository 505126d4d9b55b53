//! The demonstration: a folder, telemetry, the orders, the transfers, and the page.

use std::path::{Path, PathBuf};

use crate::arguments::Postgres;
use crate::stage::Stage;
use crate::transfer::server::Server;
use crate::{Failure, order, transfer};

pub(crate) async fn run(page: Option<PathBuf>, postgres: Postgres) -> Result<(), Failure> {
    let page = match page {
        Some(page) => page,
        None => std::env::current_exe()?.with_file_name("transfer.html"),
    };
    let folder = Folder::new()?;
    let mut stage = Stage::new(folder.path());
    let played = play(&mut stage, folder.path(), postgres).await;
    let shown = played.and_then(|()| stage.page(&page));
    stage.shut_down().await;
    shown?;
    println!("All of these on one page: {}", page.display());
    Ok(())
}

async fn play(stage: &mut Stage, folder: &Path, postgres: Postgres) -> Result<(), Failure> {
    order::demo::play(stage, folder).await?;
    let server = match postgres {
        Postgres::At(url) => Ok(Server::at(url)),
        Postgres::IfThere => Server::find(folder).await,
        Postgres::Without => Err("--no-postgres".into()),
    };
    match server {
        Ok(server) => {
            let played = transfer::demo::play(stage, folder, server.url()).await;
            server.stop().await;
            played
        }
        Err(why) => {
            println!(
                "The transfers are left out, for they need a Postgres: {}\n",
                crate::whole(why.as_ref())
            );
            Ok(())
        }
    }
}

/// A folder that is gone at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("transfer-{}", unique()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A part of a name that nobody else has.
pub(crate) fn unique() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
