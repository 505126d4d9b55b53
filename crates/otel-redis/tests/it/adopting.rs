//! The program of the README's section "Adopting": both versions compile, and the section is their difference.

// Both connect to a server only when their methods are called, which no test does.
#[expect(dead_code, reason = "compiled and not run")]
mod after;
#[expect(dead_code, reason = "compiled and not run")]
mod before;

#[test]
fn the_readme_has_the_difference_of_two_programs_that_compile() {
    let [before, after] = [include_str!("adopting/before.rs"), include_str!("adopting/after.rs")];
    otel_testing::assert_adopting_section(include_str!("../../README.md"), before, after);
}
