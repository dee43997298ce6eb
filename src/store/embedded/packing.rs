//! Of Redis's Lua library `struct` what scripts use: little-endian bytes and doubles.
//!
//! A format is `<`, then one letter per value: `B` an unsigned byte, `d` a double. `unpack` answers one value more, the
//! position behind what it read, as Redis does.

use mlua::{Error, Function, Lua, LuaString, MultiValue, Result, Value};

/// `struct.pack(format, …)`.
pub(super) fn pack(lua: &Lua) -> Result<Function> {
    lua.create_function(|lua, (format, values): (LuaString, MultiValue)| {
        let format = format.as_bytes();
        let letters = letters(&format)?;
        let mut packed = Vec::with_capacity(letters.len() * 8);
        for (at, letter) in letters.iter().enumerate() {
            let number = match values.get(at) {
                Some(Value::Number(number)) => *number,
                #[expect(clippy::cast_precision_loss, reason = "it was a double in Lua")]
                Some(Value::Integer(number)) => *number as f64,
                _ => return Err(fault("struct.pack expects a number for each letter")),
            };
            match letter {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a byte is asked for"
                )]
                b'B' => packed.push(number as i64 as u8),
                b'd' => packed.extend_from_slice(&number.to_le_bytes()),
                _ => return Err(unknown(*letter)),
            }
        }
        lua.create_string(packed)
    })
}

/// `struct.unpack(format, bytes, position)`; without a position from the start.
pub(super) fn unpack(lua: &Lua) -> Result<Function> {
    lua.create_function(|_, (format, packed, position): (LuaString, LuaString, Option<usize>)| {
        let (format, packed) = (format.as_bytes(), packed.as_bytes());
        let letters = letters(&format)?;
        let mut values = MultiValue::with_capacity(letters.len() + 1);
        let start = position.unwrap_or(1).saturating_sub(1);
        let mut rest = packed.get(start..).ok_or_else(|| fault("data string too short"))?;
        for letter in letters {
            let number = match letter {
                b'B' => f64::from(take::<1>(&mut rest)?[0]),
                b'd' => f64::from_le_bytes(take(&mut rest)?),
                _ => return Err(unknown(*letter)),
            };
            values.push_back(Value::Number(number));
        }
        let position = packed.len() - rest.len() + 1;
        values.push_back(Value::Integer(i64::try_from(position).unwrap_or(i64::MAX)));
        Ok(values)
    })
}

fn letters(format: &[u8]) -> Result<&[u8]> {
    format.strip_prefix(b"<").ok_or_else(|| fault("a struct format begins with `<`"))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (first, behind) = rest.split_first_chunk().ok_or_else(|| fault("data string too short"))?;
    *rest = behind;
    Ok(*first)
}

fn unknown(letter: u8) -> Error {
    fault(&format!("struct format letter `{}` is not known here", char::from(letter)))
}

fn fault(message: &str) -> Error {
    Error::RuntimeError(message.to_owned())
}
