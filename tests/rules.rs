//! Rules in the daemon: what fires is done, and fires once, whoever is killed whenever.

mod begin; // what is said at a first start and at a reload
mod events; // what happens to Tripline itself is an event like any other
mod kills; // neither a firing nor a count is lost or made twice
mod place; // a log, rules and the program that runs them
mod refused; // whatever the mistake, the old set goes on
mod reload; // another set of rules takes over in the middle of everything
mod replay; // a replay and the daemon fire the same
mod tasks; // what became of actions, for people
mod time; // what is read late is not taken for what happens now
mod work; // actions in the daemon: needs, failures, retries, journals
