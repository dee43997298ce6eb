//! The pool: accounts, the models they offer, and what every request leaves behind.

pub mod alias;
pub mod catalogue;
pub mod directory;
pub mod import;
pub mod lease;
pub mod pool;
pub mod settlement;
pub mod survey;
