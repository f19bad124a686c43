//! Logits -> tokens: sampling, drafting, verifying, stopping.
