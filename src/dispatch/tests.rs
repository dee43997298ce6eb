//! A request's life under a clock that the tests hold: the store in memory, the upstream a script, every wait in
//! virtual time.

mod budgets;
mod room;
mod statuses;
mod streams;
mod timelines;
mod upstream;
mod world;
