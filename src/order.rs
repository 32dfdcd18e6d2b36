//! Sorts lists. One sort serves lists of all kinds, because std's takes some four kilobytes of the program for each type;
//! of plain values a heap does it. Pure.

use std::cmp::Ordering;

/// The items in order; equal items stay in the order in which they were.
pub fn sorted<T>(items: Vec<T>, compare: &dyn Fn(&T, &T) -> Ordering) -> Vec<T> {
    let places = places(items.len(), &|a, b| compare(&items[a], &items[b]));
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    let items = places.into_iter().filter_map(|place| items[place].take());
    items.collect()
}

/// The places of `count` items, in the items' order.
fn places(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_unstable_by(|&a, &b| compare(a, b).then(a.cmp(&b)));
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_a_stable_sort(items in prop::collection::vec((0..9_u8, any::<u8>()), 0..99)) {
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            prop_assert_eq!(sorted(items, &|a, b| a.0.cmp(&b.0)), expected);
        }
    }
}
