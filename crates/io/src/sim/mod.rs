//! The simulated disk and clock.
