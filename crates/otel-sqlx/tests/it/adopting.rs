//! The section "Adopting" of the README is the difference of these two programs.

#[expect(dead_code, reason = "it is compiled, and compared with the README")]
#[rustfmt::skip]
mod after;
#[expect(dead_code, reason = "it is compiled, and compared with the README")]
#[rustfmt::skip]
mod before;

#[test]
fn adopting_is_a_change_of_type() {
    let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    otel_testing::assert_adopting_section(
        readme,
        include_str!("adopting/before.rs"),
        include_str!("adopting/after.rs"),
    );
}
