//! The pool: accounts, the models they offer, and what every request leaves behind.

pub mod alias;
pub mod capacity;
pub mod catalogue;
mod credential;
pub mod directory;
pub mod export;
pub mod import;
pub mod lease;
pub mod pool;
pub mod settlement;
pub mod signin;
pub mod survey;
pub mod verify;
