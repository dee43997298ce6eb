//! Tests of the whole crate.
#![cfg(test)]

mod imports;
