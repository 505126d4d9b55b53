//! The section "Adopting" of a transport's README: the difference of a program before and after.

/// Asserts that the section "Adopting" of a README is a `diff` block of two programs, each given by its source without the
/// `//!` line and the empty line after it. A test that has both as modules compiles them.
///
/// # Panics
/// Panics if the section or its block is missing, or if one of the versions differs.
pub fn assert_adopting_section(readme: &str, before: &str, after: &str) {
    let diff = readme
        .split_once("## Adopting")
        .and_then(|(_, section)| section.split_once("```diff\n"))
        .and_then(|(_, diff)| diff.split_once("```"));
    let Some((diff, _)) = diff else { panic!("the README has no section `## Adopting` with a `diff` block") };
    for (own, program) in [('-', before), ('+', after)] {
        let lines = diff.lines().filter(|line| line.starts_with([' ', own]) || line.is_empty());
        let shown: Vec<_> = lines.map(|line| line.get(1..).unwrap_or_default()).collect();
        assert_eq!(shown, program.lines().skip(2).collect::<Vec<_>>(), "the lines with `{own}`");
    }
}

#[cfg(test)]
mod tests {
    use super::assert_adopting_section;

    const BEFORE: &str = "//! Before.\n\nuse client;\n\nfn main() {}\n";
    const AFTER: &str = "//! After.\n\nuse traced;\n\nfn main() {}\n";

    #[test]
    fn the_block_is_the_difference_of_both_programs() {
        let readme = "## Adopting\n\n```diff\n-use client;\n+use traced;\n\n fn main() {}\n```\n";
        assert_adopting_section(readme, BEFORE, AFTER);
    }

    #[test]
    #[should_panic(expected = "the lines with `+`")]
    fn a_version_that_differs_fails() {
        let readme = "## Adopting\n\n```diff\n-use client;\n+use other;\n\n fn main() {}\n```\n";
        assert_adopting_section(readme, BEFORE, AFTER);
    }

    #[test]
    #[should_panic(expected = "no section `## Adopting`")]
    fn a_readme_without_the_section_fails() {
        assert_adopting_section("## Scope\n", BEFORE, AFTER);
    }
}
