//! Wrong uses of the macros, and the errors that the compiler shows for them, at the place of the mistake.

#[test]
fn mistakes_are_explained_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/cases/*.rs");
}
