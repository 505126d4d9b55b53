//! Headers as librdkafka holds them: read without asking that a name be UTF-8, and removed.
//!
//! The one module of the libraries with `unsafe` code. rdkafka panics where it reads a header whose name is not UTF-8,
//! so that one hostile record would end a consumer; and it cannot remove a header, which a copy of the others could
//! only stand in for if each had a name that is UTF-8.

#![expect(unsafe_code, reason = "rdkafka has no safe way to read such a name, nor any to remove a header")]

use std::ffi::{CStr, c_void};
use std::ptr;

use rdkafka::bindings;
use rdkafka::error::IsError as _;
use rdkafka::message::{BorrowedHeaders, Headers as _, OwnedHeaders};

/// librdkafka's own pointer to these headers.
fn native(headers: &BorrowedHeaders) -> *const bindings::rd_kafka_headers_t {
    // rdkafka makes such a reference out of that pointer, and turns it back in the same way.
    ptr::from_ref(headers).cast()
}

/// How many headers there are.
pub(crate) fn count(headers: &BorrowedHeaders) -> usize {
    // Reads the number alone, no name.
    headers.count()
}

/// The name and the value of one header; `None` past the last one.
///
/// A name ends at its first zero byte, as librdkafka hands it out. A value that is null is not an empty one.
pub(crate) fn get(headers: &BorrowedHeaders, index: usize) -> Option<(&CStr, Option<&[u8]>)> {
    // librdkafka looks at the index as a signed number of 32 bits, and reads before the first header at a negative one.
    if index >= count(headers) {
        return None;
    }
    let (mut name, mut value, mut size) = (ptr::null(), ptr::null::<c_void>(), 0);
    // SAFETY: the headers are alive for as long as the reference is, there is one at this index, and the three
    // out-pointers are valid for writes.
    let error = unsafe {
        bindings::rd_kafka_header_get_all(native(headers), index, &mut name, &mut value, &mut size)
    };
    if error.is_error() || name.is_null() {
        return None;
    }
    // SAFETY: librdkafka ends each name with a zero byte and keeps it, unmoved, until its header is removed or the
    // headers are destroyed. Both take the headers by value or by `&mut`, which the returned lifetime rules out.
    let name = unsafe { CStr::from_ptr(name) };
    let value = (!value.is_null()).then(|| {
        // SAFETY: the value is `size` bytes that librdkafka keeps for as long as the name; it is not null, and `u8` has
        // no alignment.
        unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) }
    });
    Some((name, value))
}

/// Removes all headers of exactly this name.
pub(crate) fn remove(headers: &mut OwnedHeaders, name: &CStr) {
    // SAFETY: owned headers are writable, the exclusive reference shows that nothing read from them is still borrowed,
    // and the name is another's memory that ends with a zero byte. That there is no such header is its only error.
    unsafe {
        bindings::rd_kafka_header_remove(native(headers.as_borrowed()).cast_mut(), name.as_ptr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::ffi::CString;

    use rdkafka::message::Header;

    /// Headers with a name that no safe code can write.
    fn headers(names: &[&[u8]], value: Option<&[u8]>) -> OwnedHeaders {
        names.iter().fold(OwnedHeaders::new(), |headers, name| {
            // SAFETY: the bytes are never looked at as text: `insert` hands address and length to librdkafka.
            let key = unsafe { std::str::from_utf8_unchecked(name) };
            headers.insert(Header { key, value })
        })
    }

    fn names(headers: &OwnedHeaders) -> Vec<Vec<u8>> {
        let headers = headers.as_borrowed();
        (0..count(headers)).map(|index| get(headers, index).unwrap().0.to_bytes().to_vec()).collect()
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_read() {
        let headers = headers(&[b"ok", b"\xff\xfe", b""], Some(b"v\0\xff"));
        assert_eq!(names(&headers), [b"ok".to_vec(), b"\xff\xfe".to_vec(), b"".to_vec()]);
        for index in 0..3 {
            assert_eq!(get(headers.as_borrowed(), index).unwrap().1, Some(&b"v\0\xff"[..]));
        }
        assert!(get(headers.as_borrowed(), 3).is_none());
        assert!(get(headers.as_borrowed(), usize::MAX).is_none());
    }

    #[test]
    fn a_value_that_is_null_is_told_from_an_empty_one() {
        assert_eq!(get(headers(&[b"a"], None).as_borrowed(), 0).unwrap().1, None);
        assert_eq!(get(headers(&[b"a"], Some(b"")).as_borrowed(), 0).unwrap().1, Some(&b""[..]));
    }

    #[test]
    fn a_name_ends_at_its_first_zero_byte() {
        assert_eq!(names(&headers(&[b"a\0b"], None)), [b"a".to_vec()]);
    }

    #[test]
    fn all_headers_of_a_name_are_removed_and_no_others() {
        let mut headers = headers(&[b"a", b"\xff", b"A", b"a"], Some(b"1"));
        remove(&mut headers, &CString::new("a").unwrap());
        remove(&mut headers, &CString::new("missing").unwrap());
        assert_eq!(names(&headers), [b"\xff".to_vec(), b"A".to_vec()]);
        remove(&mut headers, &CString::new(b"\xff".to_vec()).unwrap());
        assert_eq!(names(&headers), [b"A".to_vec()]);
    }

    #[test]
    fn headers_that_are_copied_are_their_own() {
        let mut copied = headers(&[b"a", b"b"], Some(&[7; 70_000]));
        let original = copied.as_borrowed().detach();
        remove(&mut copied, &CString::new("a").unwrap());
        drop(copied);
        assert_eq!(names(&original), [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(get(original.as_borrowed(), 1).unwrap().1.unwrap().len(), 70_000);
    }
}
