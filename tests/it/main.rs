//! Tests of the whole crate.

mod imports;
