//! Messages -> prompt -> reply.
//!
//! * [`template`]: messages and tools -> the prompt, by the checkpoint's own template.
//! * [`reasoning`]: a reply's text -> what was thought and what is said.
//! * [`tool_call`]: a reply's text -> text and tool calls.
//! * [`session`]: a pair of models, loaded and ready to reply.
//! * [`openai`]: all of it behind OpenAI's interface.

mod jinja;
pub mod openai;
pub mod reasoning;
pub mod session;
pub mod template;
pub mod tool_call;
