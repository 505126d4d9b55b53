//! Hashes, and the joined script as text.

use sha2::{Digest, Sha256};

use super::{MODULES, SCRIPT, SCRIPT_HASH, STYLE, STYLE_HASH};

/// Base64 of a hash, as a content security policy has it.
fn hash(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = Sha256::digest(text.as_bytes());
    let mut out = String::new();
    for chunk in hash.chunks(3) {
        let bits = chunk
            .iter()
            .enumerate()
            .fold(0, |bits, (place, byte)| bits | u32::from(*byte) << (16 - 8 * place));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[test]
fn the_hashes_are_those_of_script_and_style() {
    for (file, text, known) in [("script", &**SCRIPT, SCRIPT_HASH), ("style", STYLE, STYLE_HASH)] {
        let right = hash(text);
        if std::env::var_os("UPDATE_HASHES").is_some() {
            let path = format!("{}/src/page/{file}.sha256", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, format!("{right}\n")).expect("the hash is written");
        } else {
            let next = "`UPDATE_HASHES=1 cargo test -p otel-waterfall the_hashes` writes it";
            assert_eq!(known.trim(), right, "src/page/{file}.sha256; {next}");
        }
    }
}

#[test]
fn a_hash_is_as_known() {
    assert_eq!(hash(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

#[test]
fn the_script_has_no_imports_and_cannot_end_early() {
    assert!(!SCRIPT.contains("\nimport ") && !SCRIPT.contains("\nexport "));
    assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--") && !STYLE.contains("</"));
    assert!(SCRIPT.contains("\nclass Waterfall") && SCRIPT.contains("\nfunction layOut"));
}

#[test]
fn a_module_comes_after_those_that_it_imports() {
    let names =
        ["format", "dom", "tree", "store", "list", "details", "waterfall", "map", "metrics", "logs", "app"];
    for (place, module) in MODULES.iter().enumerate() {
        for import in module.lines().filter(|line| line.starts_with("import ")) {
            let imported = names.iter().position(|name| import.ends_with(&format!("'./{name}.js';")));
            assert!(imported.is_some_and(|imported| imported < place), "{}: {import}", names[place]);
        }
    }
}

#[test]
fn the_script_parses_no_markup_and_runs_no_text() {
    for wrong in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"]
    {
        assert!(!SCRIPT.contains(wrong), "{wrong}");
    }
}

#[test]
fn names_of_the_joined_modules_are_unique() {
    let mut names = std::collections::HashSet::new();
    for line in SCRIPT.lines() {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = ["function ", "const ", "let ", "class "].iter().find_map(|word| line.strip_prefix(word));
        let Some(rest) = rest else { continue };
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        assert!(names.insert(name), "{name} is declared twice");
    }
    assert!(names.contains("layOut") && names.contains("KINDS") && names.len() > 50, "{names:?}");
}
