//! The key of a destination: one or several parts, joined without an allocation.

/// The longest key that is joined on the stack, in bytes.
const ON_STACK: usize = 256;

/// The first character of a key that is joined.
const JOINED: char = '\0';

/// Calls `look_up` with the key that stands for these parts. A part that only empty ones follow is the key itself. Other keys
/// are distinct if their parts are, because each part is preceded by its length. All keys have the same number of parts.
#[inline]
pub(crate) fn with_key<T>(parts: &[&str], look_up: impl FnOnce(&str) -> T) -> T {
    if let [first, others @ ..] = parts
        && others.iter().all(|part| part.is_empty())
        && !first.starts_with(JOINED)
    {
        return look_up(first);
    }
    look_up_joined(parts, look_up)
}

#[inline(never)]
fn look_up_joined<T>(parts: &[&str], look_up: impl FnOnce(&str) -> T) -> T {
    let mut buffer = [0; ON_STACK];
    if let Some(len) = join(parts, &mut buffer)
        && let Ok(key) = std::str::from_utf8(&buffer[..len])
    {
        return look_up(key);
    }
    let mut key = String::from(JOINED);
    for part in parts {
        key.push(length(part));
        key.push_str(part);
    }
    look_up(&key)
}

fn join(parts: &[&str], buffer: &mut [u8; ON_STACK]) -> Option<usize> {
    buffer[0] = JOINED as u8;
    let mut end = 1;
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
        assert_eq!(key(&["orders", "", ""]), "orders");
    }

    #[test]
    fn other_parts_are_another_key() {
        let long = "x".repeat(300);
        let all: [&[&str]; 11] = [
            &["a", "b"],
            &["ab", ""],
            &["", "ab"],
            &["a", "", "b"],
            &["a\u{1}b", ""],
            &["a", "\u{1}b"],
            &[&long, "a"],
            &[&long, "", "a"],
            &["a", &long],
            &["\0", ""],
            &["\0\0\u{2}ab", ""],
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
            assert_eq!(key(&["e", &part]).len(), 3 + part.len() + length(&part).len_utf8());
        }
    }
}
