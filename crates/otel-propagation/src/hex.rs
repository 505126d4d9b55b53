//! Lower-case hexadecimal, read eight digits at a time and written by table.
//!
//! W3C Trace Context level 2, section "version-format" (`HEXDIGLC`), and B3 both allow lower case only.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Both digits of every byte, so that writing one is one copy.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0x0f]];
        byte += 1;
    }
    pairs
};

/// Reads a number from exactly 32 digits.
#[inline]
pub(crate) fn decode_u128(text: &[u8]) -> Option<u128> {
    let (high, low) = text.split_at_checked(16)?;
    Some((u128::from(decode_u64(high)?) << 64) | u128::from(decode_u64(low)?))
}

/// Reads a number from exactly 16 digits.
#[inline]
pub(crate) fn decode_u64(text: &[u8]) -> Option<u64> {
    let ([high, low], []) = text.as_chunks::<8>() else { return None };
    let ((high, wrong_high), (low, wrong_low)) = (decode_eight(*high), decode_eight(*low));
    (wrong_high | wrong_low == 0).then_some((u64::from(high) << 32) | u64::from(low))
}

/// Reads a number from exactly two digits.
#[inline]
pub(crate) fn decode_u8(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    match text {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    }
}

/// Reads the two ids of a `traceparent`.
#[inline(always)]
pub(crate) fn decode_ids(trace_id: &[u8; 32], span_id: &[u8; 16]) -> Option<(u128, u64)> {
    let ([a, b, c, d], []) = trace_id.as_chunks::<8>() else { return None };
    let ([e, f], []) = span_id.as_chunks::<8>() else { return None };
    let (a, b, c) = (decode_eight(*a), decode_eight(*b), decode_eight(*c));
    let (d, e, f) = (decode_eight(*d), decode_eight(*e), decode_eight(*f));
    let wrong = a.1 | b.1 | c.1 | d.1 | e.1 | f.1;
    let join = |high: u32, low: u32| (u64::from(high) << 32) | u64::from(low);
    let trace_id = (u128::from(join(a.0, b.0)) << 64) | u128::from(join(c.0, d.0));
    (wrong == 0).then_some((trace_id, join(e.0, f.0)))
}

/// Reads eight digits at once, each in a lane of one word. The second value is zero if all of them are digits.
#[inline(always)]
fn decode_eight(text: [u8; 8]) -> (u32, u64) {
    const LANES: u64 = 0x0101_0101_0101_0101;
    let text = u64::from_be_bytes(text);
    // Bit 6 distinguishes letters from digits.
    let letters = (text >> 6) & LANES;
    let values = (text & (LANES * 0x0f)) + letters * 9;
    // A valid value is written as it was read. No lane overflows: a value is at most 24.
    let above_nine = ((values + LANES * 0x76) >> 7) & LANES;
    let written = values + LANES * 0x30 + above_nine * 0x27;
    let wrong = (written ^ text) | (values & (LANES * 0xf0));

    // Two digits move together, then two pairs, then two fours.
    let value = (values | (values >> 4)) & 0x00ff_00ff_00ff_00ff;
    let value = (value | (value >> 8)) & 0x0000_ffff_0000_ffff;
    let value = value | (value >> 16);
    // The upper half is cut off on purpose: it is what was moved away.
    (value as u32, wrong)
}

/// Writes `bytes` as `2 * bytes.len()` digits; the rest of `text` is left as it is.
#[inline]
pub(crate) fn encode(bytes: &[u8], text: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(text.as_chunks_mut::<2>().0) {
        *pair = PAIRS[usize::from(*byte)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_nothing_else_are_read_in_every_place() {
        for byte in 0..=u8::MAX {
            let expected = match byte {
                b'0'..=b'9' => Some(byte - b'0'),
                b'a'..=b'f' => Some(byte - b'a' + 10),
                _ => None,
            };
            assert_eq!(decode_u8(&[b'0', byte]), expected, "{byte:#04x}");
            assert_eq!(decode_u8(&[byte, b'0']), expected.map(|value| value << 4), "{byte:#04x}");
            for place in 0..32 {
                let mut text = [b'f'; 32];
                text[place] = byte;
                let shift = 4 * (31 - place);
                let number = |value: u8| !(0xf << shift) | (u128::from(value) << shift);
                assert_eq!(decode_u128(&text), expected.map(number), "{byte:#04x} at {place}");
            }
        }
    }

    #[test]
    fn every_number_survives_being_written_and_read() {
        for byte in 0..=u8::MAX {
            let mut text = [0; 2];
            encode(&[byte], &mut text);
            assert_eq!(decode_u8(&text), Some(byte));
        }
        let number = 0x0123_4567_89ab_cdef;
        let mut text = [0; 16];
        encode(&u64::to_be_bytes(number), &mut text);
        assert_eq!((&text, decode_u64(&text)), (b"0123456789abcdef", Some(number)));
    }

    #[test]
    fn a_wrong_length_is_refused() {
        for length in (0..40).filter(|length| *length != 16) {
            assert_eq!(decode_u64(&vec![b'0'; length]), None, "{length}");
        }
        for length in (0..40).filter(|length| *length != 32) {
            assert_eq!(decode_u128(&vec![b'0'; length]), None, "{length}");
        }
        assert_eq!((decode_u8(b"0"), decode_u8(b"000")), (None, None));
    }
}
