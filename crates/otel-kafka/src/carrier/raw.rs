//! Access to librdkafka's headers that rdkafka lacks: reading names that are not UTF-8, and removing headers.
//!
//! The only module of the libraries with `unsafe` code. rdkafka panics when it reads a header whose name is not
//! UTF-8, so a single hostile record could stop a consumer. It also cannot remove a header, and copying the others
//! instead would require all names to be UTF-8.

#![expect(unsafe_code, reason = "rdkafka has no safe way to read such a name, nor any to remove a header")]

use std::ffi::{CStr, c_void};
use std::ptr;

use rdkafka::bindings;
use rdkafka::error::IsError as _;
use rdkafka::message::{BorrowedHeaders, Headers as _, OwnedHeaders};

/// Returns librdkafka's pointer to these headers.
fn native(headers: &BorrowedHeaders) -> *const bindings::rd_kafka_headers_t {
    // rdkafka creates such a reference from that pointer, and converts it back in the same way.
    ptr::from_ref(headers).cast()
}

/// Returns the number of headers.
pub(crate) fn count(headers: &BorrowedHeaders) -> usize {
    // rdkafka's `count` reads only the number and no name, so it does not panic.
    headers.count()
}

/// Returns the name and the value of one header, or `None` if `index` is out of range.
///
/// librdkafka ends a name at its first zero byte. A null value is distinct from an empty one.
pub(crate) fn get(headers: &BorrowedHeaders, index: usize) -> Option<(&CStr, Option<&[u8]>)> {
    // librdkafka converts the index to a signed 32-bit number and reads out of bounds if that is negative.
    if index >= count(headers) {
        return None;
    }
    let (mut name, mut value, mut size) = (ptr::null(), ptr::null::<c_void>(), 0);
    // SAFETY: the headers live as long as the reference, the index is in range, and the three out-pointers are valid
    // for writes.
    let error = unsafe {
        bindings::rd_kafka_header_get_all(native(headers), index, &mut name, &mut value, &mut size)
    };
    if error.is_error() || name.is_null() {
        return None;
    }
    // SAFETY: librdkafka terminates each name with a zero byte and keeps it at its address until the header is
    // removed or the headers are destroyed. Both require the headers by value or by `&mut`, which the returned
    // lifetime excludes.
    let name = unsafe { CStr::from_ptr(name) };
    let value = (!value.is_null()).then(|| {
        // SAFETY: the value consists of `size` bytes that live as long as the name. The pointer is not null, and `u8`
        // has no alignment requirement.
        unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) }
    });
    Some((name, value))
}

/// Appends a header. rdkafka's `insert` does the same and copies the name first, to end it with a zero byte, which librdkafka
/// does not need where it is given the length. A name with a zero byte, which would end there, is left out.
pub(crate) fn add(headers: &mut OwnedHeaders, name: &str, value: &[u8]) {
    let (Ok(name_size), Ok(size)) = (isize::try_from(name.len()), isize::try_from(value.len())) else {
        return;
    };
    if name.bytes().any(|byte| byte == 0) {
        return;
    }
    // SAFETY: owned headers are writable, and the exclusive reference excludes borrows of their contents. librdkafka copies
    // `name_size` bytes of the name and `size` bytes of the value, which live as long as the call.
    unsafe {
        bindings::rd_kafka_header_add(
            native(headers.as_borrowed()).cast_mut(),
            name.as_ptr().cast(),
            name_size,
            value.as_ptr().cast(),
            size,
        );
    }
}

/// Removes all headers with exactly this name.
pub(crate) fn remove(headers: &mut OwnedHeaders, name: &CStr) {
    // SAFETY: owned headers are writable; the exclusive reference excludes borrows of their contents; the name is
    // zero-terminated and does not point into the headers. The only possible error is that no such header exists.
    unsafe {
        bindings::rd_kafka_header_remove(native(headers.as_borrowed()).cast_mut(), name.as_ptr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::ffi::CString;

    use rdkafka::message::Header;

    /// Returns headers whose names may not be UTF-8, which safe code cannot create.
    fn headers(names: &[&[u8]], value: Option<&[u8]>) -> OwnedHeaders {
        names.iter().fold(OwnedHeaders::new(), |headers, name| {
            // SAFETY: the bytes are never read as text, because `insert` passes address and length to librdkafka.
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
    fn a_header_is_appended_as_rdkafka_does() {
        let mut ours = headers(&[b"a"], Some(b"1"));
        add(&mut ours, "traceparent", b"00-\xff");
        add(&mut ours, "a", b"");
        add(&mut ours, "", b"2");
        add(&mut ours, "b\0c", b"left out");
        let theirs = headers(&[b"a"], Some(b"1"))
            .insert(Header { key: "traceparent", value: Some(b"00-\xff") })
            .insert(Header { key: "a", value: Some("") })
            .insert(Header { key: "", value: Some("2") });
        let list = |headers: &OwnedHeaders| -> Vec<_> {
            let headers = headers.as_borrowed();
            let get =
                |index| get(headers, index).map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
            (0..count(headers)).map(get).collect()
        };
        assert_eq!(list(&ours), list(&theirs));
        assert_eq!(count(ours.as_borrowed()), 4);
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
