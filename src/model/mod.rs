//! A checkpoint -> a plan.
