//! A child process that is killed at a defined point: the child's signal, and the parent that waits for it.

use std::ffi::OsStr;
use std::future::pending;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::{Failure, PATIENCE};

/// The line that the child prints when it has reached the point.
const REACHED: &str = "now";

/// The point at which the child is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KillPoint;

impl KillPoint {
    /// Signals the parent and waits to be killed.
    pub(crate) async fn reached<T>(&self) -> T {
        // `println!` flushes the standard output at each newline.
        println!("{REACHED}");
        pending().await
    }
}

/// Starts this program as a child, prints its output, and kills it with SIGKILL when it has reached its [`KillPoint`].
pub(crate) async fn kill(arguments: &[&OsStr], environment: &[(&str, &str)]) -> Result<(), Failure> {
    let mut victim = Command::new(std::env::current_exe()?)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Kills the child if this function returns early with an error.
        .kill_on_drop(true)
        .spawn()?;
    let output = victim.stdout.take().ok_or("the child process has no standard output")?;
    let mut lines = BufReader::new(output).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await? {
            if line == REACHED {
                return Ok(());
            }
            println!("{line}");
        }
        Err::<(), Failure>("the child process ended before it was killed".into())
    };
    timeout(PATIENCE, listening)
        .await
        .map_err(|_| "the child process did not reach its kill point in time")??;
    victim.kill().await?;
    println!("  kill -9: the process is gone");
    Ok(())
}
