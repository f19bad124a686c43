//! Messages -> prompt -> reply.

mod jinja;
pub mod session;
pub mod template;
