//! Writing events.

use bytes::{BufMut, BytesMut};
use memchr::memchr_iter;

/// Appends one event to `out`: an `event:` line when `name` is given, one `data:` line per line of `data`,
/// and the blank line that dispatches it.
///
/// A line break in `name` would begin another field, so the name is cut there.
pub fn encode(name: Option<&str>, data: &[u8], out: &mut BytesMut) {
    out.reserve(data.len() + 32);
    if let Some(name) = name.and_then(|name| name.lines().next()) {
        out.put_slice(b"event: ");
        out.put_slice(name.as_bytes());
        out.put_u8(b'\n');
    }
    let mut line_start = 0;
    for line_end in memchr_iter(b'\n', data).chain([data.len()]) {
        out.put_slice(b"data: ");
        out.put_slice(&data[line_start..line_end]);
        out.put_u8(b'\n');
        line_start = line_end + 1;
    }
    out.put_u8(b'\n');
}

#[cfg(test)]
mod tests {
    use super::encode;
    use bytes::BytesMut;

    #[test]
    fn frames() {
        let mut out = BytesMut::new();
        encode(None, b"{}", &mut out);
        encode(Some("ping"), b"a\n\nb", &mut out);
        encode(Some("x\ndata: forged"), b"", &mut out);
        assert_eq!(&out[..], b"data: {}\n\nevent: ping\ndata: a\ndata: \ndata: b\n\nevent: x\ndata: \n\n");
    }
}
