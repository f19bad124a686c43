//! A goal -> steps that use tools.
