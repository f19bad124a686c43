//! Messages -> prompt -> reply.

mod jinja;
pub mod template;
