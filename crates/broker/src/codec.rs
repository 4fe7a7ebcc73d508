//! How state values are written: big endian, lengths before texts.
