//! The forwarding of client callbacks to the user's context, shared by the contexts of producers and consumers.

/// Implements the methods of rdkafka's `ClientContext` for a type with a field `inner: C`. All methods are listed,
/// because an omitted one would silently fall back to rdkafka's default. The statistics are first given to `$observe`.
macro_rules! client_context {
    ($observe:expr) => {
        const ENABLE_REFRESH_OAUTH_TOKEN: bool = C::ENABLE_REFRESH_OAUTH_TOKEN;

        fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
            self.inner.log(level, fac, log_message);
        }

        fn stats(&self, statistics: Statistics) {
            self.inner.stats(statistics);
        }

        fn stats_raw(&self, statistics: &[u8]) {
            ($observe)(self, statistics);
            self.inner.stats_raw(statistics);
        }

        fn error(&self, error: KafkaError, reason: &str) {
            self.inner.error(error, reason);
        }

        fn generate_oauth_token(
            &self,
            oauthbearer_config: Option<&str>,
        ) -> Result<OAuthToken, Box<dyn Error>> {
            self.inner.generate_oauth_token(oauthbearer_config)
        }
    };
}
pub(crate) use client_context;
