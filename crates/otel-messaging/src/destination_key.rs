//! The key of a destination: one or several parts, joined without an allocation.

/// The longest key that is joined on the stack, in bytes.
const ON_STACK: usize = 256;

/// Calls `look_up` with the key that stands for these parts. A single part is the key itself. Keys of several parts
/// are distinct if their parts are, because each part is preceded by its length.
#[inline]
pub(crate) fn with_key<T>(parts: &[&str], look_up: impl FnOnce(&str) -> T) -> T {
    if let [part] = parts {
        return look_up(part);
    }
    let mut buffer = [0; ON_STACK];
    if let Some(len) = join(parts, &mut buffer)
        && let Ok(key) = std::str::from_utf8(&buffer[..len])
    {
        return look_up(key);
    }
    let key: String = parts.iter().flat_map(|part| [length(part).to_string(), (*part).to_owned()]).collect();
    look_up(&key)
}

fn join(parts: &[&str], buffer: &mut [u8]) -> Option<usize> {
    let mut end = 0;
    for part in parts {
        let mut length_bytes = [0; 4];
        for text in [length(part).encode_utf8(&mut length_bytes), *part] {
            let start = end;
            end += text.len();
            buffer.get_mut(start..end)?.copy_from_slice(text.as_bytes());
        }
    }
    Some(end)
}

/// Returns the length of a part as one character. Longer parts than brokers allow share the last one.
fn length(part: &str) -> char {
    u32::try_from(part.len()).ok().and_then(char::from_u32).unwrap_or(char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[&str]) -> String {
        with_key(parts, str::to_owned)
    }

    #[test]
    fn one_part_is_the_key() {
        assert_eq!(key(&["orders"]), "orders");
        assert_eq!(key(&[""]), "");
    }

    #[test]
    fn other_parts_are_another_key() {
        let long = "x".repeat(300);
        let all: [&[&str]; 9] = [
            &["a", "b"],
            &["ab", ""],
            &["", "ab"],
            &["a", "", "b"],
            &["a\u{1}b", ""],
            &["a", "\u{1}b"],
            &[&long, "a"],
            &[&long, "", "a"],
            &["a", &long],
        ];
        for (index, parts) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                assert_ne!(key(parts), key(other), "{parts:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_key_is_the_same_on_the_stack_and_on_the_heap() {
        for len in [200, 252, 253, 254, 300] {
            let part = "x".repeat(len);
            assert_eq!(key(&["e", &part]).len(), 2 + part.len() + length(&part).len_utf8());
        }
    }
}
