//! The program of the README's section "Adopting": both versions compile, and the section is their difference.

// Both connect to a server only when their `main` is called, which no test does.
#[expect(dead_code, reason = "compiled and not run")]
mod after;
#[expect(dead_code, reason = "compiled and not run")]
mod before;

/// Returns the lines of the program without the `//!` and the empty line after it.
fn program(source: &'static str) -> Vec<&'static str> {
    source.lines().skip(2).collect()
}

#[test]
fn the_readme_has_the_difference_of_two_programs_that_compile() {
    let (_, section) = include_str!("../../README.md").split_once("## Adopting").unwrap();
    let (_, diff) = section.split_once("```diff\n").unwrap();
    let (diff, _) = diff.split_once("```").unwrap();
    let version = |own: char| -> Vec<&str> {
        let lines = diff.lines().filter(|line| line.starts_with([' ', own]) || line.is_empty());
        lines.map(|line| line.get(1..).unwrap_or_default()).collect()
    };
    assert_eq!(version('-'), program(include_str!("adopting/before.rs")));
    assert_eq!(version('+'), program(include_str!("adopting/after.rs")));
}
