//! Planted defects for tests of the tests.
