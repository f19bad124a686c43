//! Text <-> ids.
