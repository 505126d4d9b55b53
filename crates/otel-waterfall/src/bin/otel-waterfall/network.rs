//! The modes that use the network: the server and the check of a configuration.

use std::{error::Error, io::Write, process::ExitCode, time::Duration};

use otel_waterfall::{Server, diagnose};

use crate::{arguments::Serve, demo};

pub(crate) fn serve(options: Serve) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::new()
            .with_http_port(options.http_port)
            .with_grpc_port(options.grpc_port)
            .with_max_bytes(options.max_mib << 20)
            .bind()
            .await
            .map_err(|error| format!("{error}; `--http-port` and `--grpc-port` choose other ports"))?;
        if options.demo {
            server.add_otlp_json(&demo::otlp_json(demo::now()))?;
        }
        let mut out = std::io::stdout();
        writeln!(out, "page       http://{}/", server.http_address())?;
        writeln!(out, "OTLP/HTTP  http://{}", server.http_address())?;
        writeln!(out, "OTLP/gRPC  http://{}", server.grpc_address())?;
        out.flush()?;
        tokio::select! {
            () = server.run() => {}
            () = report(&server) => {}
            result = tokio::signal::ctrl_c() => result?,
        }
        writeln!(out, "{}", server.facts())?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints the counts every ten seconds while they change.
async fn report(server: &otel_waterfall::BoundServer) {
    let mut every = tokio::time::interval(Duration::from_secs(10));
    let mut last = server.facts();
    loop {
        every.tick().await;
        let facts = server.facts();
        if facts != last {
            // A closed terminal does not stop the server.
            let _ = writeln!(std::io::stdout(), "{facts}");
            last = facts;
        }
    }
}

pub(crate) fn doctor() -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let diagnosis = runtime.block_on(diagnose(|name| std::env::var(name).ok()));
    write!(std::io::stdout(), "{diagnosis}")?;
    Ok(if diagnosis.failure().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
