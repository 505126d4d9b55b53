//! The demonstration: runs the orders and the transfers, and writes the page with all traces.

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
    let result = run_script(&mut stage, folder.path(), postgres).await;
    let result = result.and_then(|()| stage.page(&page));
    stage.shut_down().await;
    result?;
    println!("All traces on one page: {}", page.display());
    Ok(())
}

async fn run_script(stage: &mut Stage, folder: &Path, postgres: Postgres) -> Result<(), Failure> {
    order::demo::run(stage, folder).await?;
    let server = match postgres {
        Postgres::Url(url) => Ok(Server::external(url)),
        Postgres::Auto => Server::find(folder).await,
        Postgres::Disabled => Err("--no-postgres".into()),
    };
    match server {
        Ok(server) => {
            let result = transfer::demo::run(stage, folder, server.url()).await;
            server.stop().await;
            result
        }
        Err(error) => {
            println!(
                "The transfers are skipped, because no Postgres server is available: {}\n",
                crate::with_causes(error.as_ref())
            );
            Ok(())
        }
    }
}

/// A temporary folder, removed on drop.
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

/// Returns a random suffix for names.
pub(crate) fn unique() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
