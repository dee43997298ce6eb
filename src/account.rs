//! The pool: accounts, the models they offer, and how they come in and go out.

pub mod alias;
pub mod import;
