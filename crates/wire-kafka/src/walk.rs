//! Arrays that are checked when they are met and read while they are walked, so that nothing is allocated for them.

use std::fmt;
use std::marker::PhantomData;

use crate::input::{DecodeError, Input};

/// What an array may hold.
pub trait Item<'a>: Sized {
    /// Reads one.
    ///
    /// # Errors
    /// What [`DecodeError`] says.
    fn read(version: i16, flexible: bool, input: &mut Input<'a>) -> Result<Self, DecodeError>;
}

impl<'a> Item<'a> for i32 {
    fn read(_: i16, _: bool, input: &mut Input<'a>) -> Result<Self, DecodeError> {
        input.i32()
    }
}

/// An array in a body, all of which is known to be readable.
#[derive(Clone)]
pub struct Walk<'a, T> {
    input: Input<'a>,
    left: usize,
    version: i16,
    flexible: bool,
    items: PhantomData<fn() -> T>,
}

impl<'a, T: Item<'a>> Walk<'a, T> {
    /// No items.
    pub(crate) fn empty() -> Self {
        Self { input: Input::new(&[]), left: 0, version: 0, flexible: false, items: PhantomData }
    }

    /// Passes over an array, whose items are thereby checked.
    pub(crate) fn read(version: i16, flexible: bool, input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let left = input.length(flexible)?.ok_or(DecodeError::Null)?;
        let walk = Self { input: input.clone(), left, version, flexible, items: PhantomData };
        for _ in 0..left {
            T::read(version, flexible, input)?;
        }
        Ok(walk)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The items, in the order of the body.
    pub fn iter(&self) -> Items<'a, T> {
        Items(Self { input: self.input.clone(), ..*self })
    }
}

impl<'a, T: Item<'a>> IntoIterator for &Walk<'a, T> {
    type Item = T;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

impl<'a, T: Item<'a> + fmt::Debug> fmt::Debug for Walk<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a, T: Item<'a> + PartialEq> PartialEq for Walk<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

/// The items of a [`Walk`].
pub struct Items<'a, T>(Walk<'a, T>);

impl<'a, T: Item<'a>> Iterator for Items<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.left = self.0.left.checked_sub(1)?;
        let item = T::read(self.0.version, self.0.flexible, &mut self.0.input);
        debug_assert!(item.is_ok(), "`read` has passed over this");
        item.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.left, Some(self.0.left))
    }
}

impl<'a, T: Item<'a>> ExactSizeIterator for Items<'a, T> {}
