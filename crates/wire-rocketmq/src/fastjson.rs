//! JSON as fastjson 1.2 speaks it: a tolerant reader into [`Value`] and a compact writer.
