//! Messages -> prompt -> reply.
