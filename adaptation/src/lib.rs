//! What Spillway decides.
