//! As much of the protobuf wire format as reading a few fields takes.

use zeroize::Zeroizing;

/// One field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'m> {
    /// A text, bytes or a message.
    Bytes(&'m [u8]),
    /// A number.
    Varint(u64),
    /// Of fixed width, not looked at.
    Fixed,
}

/// The fields of a message, by number, up to where it stops being one.
pub(super) fn fields(message: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let tag = varint(&mut rest)?;
        let field = match tag & 7 {
            0 => Field::Varint(varint(&mut rest)?),
            1 => skip(&mut rest, 8)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Field::Bytes(bytes)
            }
            5 => skip(&mut rest, 4)?,
            _ => return None,
        };
        Some((tag >> 3, field))
    })
}

/// The first bytes field of that number.
pub(super) fn bytes(message: &[u8], number: u64) -> Option<Zeroizing<Vec<u8>>> {
    fields(message).find_map(|(found, field)| match field {
        Field::Bytes(bytes) if found == number => Some(Zeroizing::new(bytes.to_owned())),
        _ => None,
    })
}

/// The first number of that number.
pub(super) fn number(message: &[u8], number: u64) -> Option<u64> {
    fields(message).find_map(|(found, field)| match field {
        Field::Varint(value) if found == number => Some(value),
        _ => None,
    })
}

fn skip<'m>(rest: &mut &'m [u8], width: usize) -> Option<Field<'m>> {
    *rest = rest.split_at_checked(width)?.1;
    Some(Field::Fixed)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_told_apart() {
        let message = [
            0x08, 0xac, 0x02, // 1: 300
            0x12, 0x02, b'h', b'i', // 2: "hi"
            0x1d, 1, 2, 3, 4, // 3: fixed 32
            0x21, 1, 2, 3, 4, 5, 6, 7, 8, // 4: fixed 64
            0x2a, 0x00, // 5: ""
        ];
        assert_eq!(number(&message, 1), Some(300));
        assert_eq!(bytes(&message, 2).unwrap().as_slice(), b"hi");
        assert_eq!(bytes(&message, 5).unwrap().as_slice(), b"");
        assert_eq!((bytes(&message, 1), number(&message, 9)), (None, None));
        assert_eq!(fields(&message).count(), 5);
        assert_eq!(fields(&message[..6]).count(), 1, "cut in the text");
    }

    proptest! {
        #[test]
        fn any_bytes_end(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(fields(&message).count() <= message.len());
        }
    }
}
