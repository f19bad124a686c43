//! A goal -> steps that use tools.
//!
//! A model cannot tell data from instructions: any text it reads may be an attack. So
//! nothing here trusts it. A model writes calls; what they may do is decided by code
//! that no text reaches.
//!
//! * [`tool`]: what a tool says of itself, and what its arguments must be.
//! * [`address`]: addresses that cannot be read in two ways.
//! * [`policy`]: may this request leave? Yes, ask the person, or no; and what the person
//!   is shown.
//! * [`trust`]: where every text came from, and what is done to a result before a model
//!   reads it.
//! * [`strategy`]: what to do next: the tools loop, ReAct, ReWOO.
//! * [`run`]: all of it as one state machine, whose events are its transcript.
//!
//! Everything is a function of its inputs: no clock, no network, no chance.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod address;
pub mod policy;
mod python;
pub mod run;
pub mod schema;
pub mod strategy;
pub mod tool;
pub mod trust;

pub(crate) use python::python_json;
