//! A process that is killed: how it tells that its moment has come, and how it is started and killed.

use std::ffi::OsStr;
use std::future::pending;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::{Failure, PATIENCE};

/// What the victim says last.
const NOW: &str = "now";

/// In the victim: the moment at which it is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death;

impl Death {
    /// Says that this is the moment, and waits for what nothing can handle.
    pub(crate) async fn strike<T>(&self) -> T {
        println!("{NOW}");
        // Standard output is flushed with each line.
        pending().await
    }
}

/// Starts this program again, repeats what it says, and kills it with SIGKILL at its moment.
pub(crate) async fn kill(arguments: &[&OsStr], environment: &[(&str, &str)]) -> Result<(), Failure> {
    let mut victim = Command::new(std::env::current_exe()?)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Also if this process ends first, by an error.
        .kill_on_drop(true)
        .spawn()?;
    let output = victim.stdout.take().ok_or("the victim has no output")?;
    let mut lines = BufReader::new(output).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await? {
            if line == NOW {
                return Ok(());
            }
            println!("{line}");
        }
        Err::<(), Failure>("the victim has ended before its time".into())
    };
    timeout(PATIENCE, listening).await.map_err(|_| "the victim's moment does not come")??;
    victim.kill().await?;
    println!("  kill -9: the process ends there");
    Ok(())
}
