//! Query comments as the server sees them, and facts of the configuration.

use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _};
use otel_propagation::CompositePropagator;
use otel_sqlx::PgPool;
use otel_testing::Recorder;
use otel_testing::spans::remote;

use crate::support::{attributes, bare_postgres, defaults, setting, unique};

/// A query that returns its own text.
const QUERY: &str = "SELECT current_query() WHERE $1 = 7";

#[tokio::test]
async fn the_server_sees_the_context_where_it_is_wanted() {
    let recorder = Recorder::new();
    let bare = bare_postgres(&unique("comments")).await;
    for is_commented in [false, true] {
        let options = defaults(&recorder)
            .with_propagator(CompositePropagator::default())
            .with_query_comments(is_commented);
        let pool = PgPool::new(bare.clone(), options);
        let parent: Context = remote(7, true);
        let run = async {
            let mut connection = pool.acquire().await?;
            let mut texts = Vec::new();
            for _ in 0..3 {
                let query = sqlx::query_scalar::<_, String>(QUERY).bind(7);
                texts.push(query.fetch_one(&mut *connection).await?);
            }
            let cached = sqlx::Connection::cached_statements_size(connection.inner());
            Ok::<_, sqlx::Error>((texts, cached))
        };
        let (texts, cached) = run.with_context(parent.clone()).await.unwrap();
        let spans = recorder.spans();
        let own = &spans[spans.len() - 3..];
        for (text, span) in texts.iter().zip(own) {
            let (trace, id) = (span.span_context.trace_id(), span.span_context.span_id());
            assert_eq!(trace, parent.span().span_context().trace_id());
            let expected = match is_commented {
                true => format!("{QUERY} /*traceparent='00-{trace}-{id}-01'*/"),
                false => QUERY.to_owned(),
            };
            assert_eq!(*text, expected);
        }
        // A text that is another one each time is not prepared for good.
        if is_commented {
            assert_eq!(cached, 0);
        }
    }
}

#[tokio::test]
async fn a_span_names_the_server_and_the_database_and_no_credentials() {
    let recorder = Recorder::new();
    let name = unique("facts");
    bare_postgres(&name).await;
    let server = setting("POSTGRES_URL");
    let address = server.rsplit('@').next().unwrap().trim_end_matches('/').to_owned();
    let url = format!("postgres://postgres:hunter2@{address}/{name}");
    let pool = PgPool::new(sqlx::PgPool::connect(&url).await.unwrap(), defaults(&recorder));
    sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    let (host, port) = address.split_once(':').unwrap();
    for (key, value) in [("server.address", host), ("server.port", port), ("db.namespace", &name)] {
        assert_eq!(attributes(&recorder, "SELECT", key), [Some(value.to_owned())]);
    }
    assert!(!format!("{:?}{}", recorder.spans(), recorder.metrics()).contains("hunter2"));
}
