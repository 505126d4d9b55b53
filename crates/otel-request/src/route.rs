//! The relation of two routes that layers of one request report.

/// Returns true if one route continues the other at the border of a segment: `/users` and `/users/{id}`, or `/a.B/{*rest}`
/// and `/a.B/C`.
pub(crate) fn continues(outer: &str, inner: &str) -> bool {
    extends(outer, inner) || extends(inner, outer)
}

fn extends(short: &str, long: &str) -> bool {
    let stem = short.split_once("/{*").map_or(short, |(stem, _)| stem);
    long.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::continues;

    #[test]
    fn routes_continue_each_other_at_segments_only() {
        for (outer, inner, expected) in [
            ("/users", "/users", true),
            ("/users", "/users/{id}", true),
            ("/users/{id}", "/users", true),
            ("/a.B/{*rest}", "/a.B/C", true),
            ("/a.B/{*rest}", "/a.B", true),
            ("/{*rest}", "/users", true),
            ("/user", "/users/{id}", false),
            ("/users/{id}", "/user", false),
            ("/a.B/{*rest}", "/a.Bc/C", false),
            ("/page", "/api/{id}", false),
            // A handler of the root path that calls the router for another one.
            ("/", "/users", false),
        ] {
            assert_eq!(continues(outer, inner), expected, "{outer} {inner}");
        }
    }
}
