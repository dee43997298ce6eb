//! Tests of the whole crate.
#![cfg(test)]

mod cli;
mod imports;
