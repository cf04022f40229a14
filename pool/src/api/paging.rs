//! Lists in pages: `?limit&after`, and where to go on.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

/// Items of a page unless the client says otherwise.
const DEFAULT_LIMIT: u32 = 100;
/// Most items of a page.
pub(super) const MAX_LIMIT: u32 = 1_000;

/// Which page of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before.
    after: Option<String>,
}

impl Page {
    /// A page of a list that takes more than a page's parameters.
    pub(super) fn new(limit: Option<u32>, after: Option<String>) -> Page {
        Page { limit, after }
    }

    /// Returns how many items the page may have.
    ///
    /// # Errors
    ///
    /// When none or more than [`MAX_LIMIT`] are asked for.
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(limit),
            limit => Err(Problem::invalid(format!("limit: {limit} is not from 1 to {MAX_LIMIT}"))),
        }
    }

    /// Returns the cursor that the page comes after.
    ///
    /// # Errors
    ///
    /// When it is none of the list's.
    pub(super) fn after<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        let parse = |text: &String| {
            text.parse().map_err(|_| Problem::invalid(format!("after: {text:?} is no `next` of this list")))
        };
        self.after.as_ref().map(parse).transpose()
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Listed<T> {
    /// The items.
    pub(super) items: Vec<T>,
    /// The `after` of the next page; nothing if this is the last.
    pub(super) next: Option<String>,
}

impl<T> Listed<T> {
    /// Makes a page out of its items and perhaps one more, which says that there is a next page.
    pub(super) fn new(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Listed<T> {
        let limit = limit as usize;
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = if has_more { items.last().map(cursor) } else { None };
        Listed { items, next }
    }

    /// Makes the page of a list that is in memory, whose items have cursors that ascend.
    pub(super) fn of_all<C: Ord + FromStr + ToString>(
        all: impl IntoIterator<Item = T>,
        page: &Page,
        cursor: impl Fn(&T) -> C,
    ) -> Result<Listed<T>, Problem> {
        let (limit, after) = (page.limit()?, page.after::<C>()?);
        let behind = all.into_iter().filter(|item| after.as_ref().is_none_or(|after| cursor(item) > *after));
        let items = behind.take(limit as usize + 1).collect();
        Ok(Listed::new(items, limit, |item| cursor(item).to_string()))
    }

    /// Makes something else of each item.
    pub(super) fn map<U>(self, change: impl FnMut(T) -> U) -> Listed<U> {
        Listed { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn page(limit: Option<u32>, after: Option<&str>) -> Page {
        Page { limit, after: after.map(str::to_owned) }
    }

    #[test]
    fn pages_follow_each_other_until_the_last() {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = page(Some(3), after.as_deref());
            let listed = Listed::of_all(1..=7_i64, &page, |item| *item).unwrap();
            assert!(listed.items.len() <= 3);
            seen.extend(listed.items);
            after = listed.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, (1..=7).collect::<Vec<_>>());
        assert_eq!(
            Listed::of_all(1..=3_i64, &page(Some(3), None), |item| *item).unwrap().next,
            None,
            "there is no more"
        );
    }

    #[test]
    fn limit_and_cursor_are_checked() {
        assert_eq!(Page::default().limit().unwrap(), DEFAULT_LIMIT);
        for limit in [0, MAX_LIMIT + 1] {
            assert_eq!(page(Some(limit), None).limit().unwrap_err().status(), 422);
        }
        assert_eq!(page(None, Some("x")).after::<i64>().unwrap_err().status(), 422);
        assert_eq!(page(None, Some("-7")).after::<i64>().unwrap(), Some(-7));
    }
}
