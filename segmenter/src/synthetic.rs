//! Media from nothing, for tests that need frames and no libav.
