//! The pages in a real browser: Chromium, steered through its driver, at a pool on a real node with miners that hash.
//!
//! What people do is done here as they do it ([`log_in`], [`live`], [`payouts`], [`returns`], [`miners`], [`operators`]),
//! and every page there is is looked at by day and by night, at a desk and on a phone ([`every_page`]): nobody is barred from
//! it, nothing of it fails or comes from elsewhere. Pictures of all of them are left in `target/screenshots`.

#![allow(clippy::unwrap_used)]

mod every_page;
mod live;
mod log_in;
mod miners;
mod operators;
mod pages;
mod payouts;
mod returns;
mod scene;
mod soundness;
mod stage;
mod ways;

// The pool, its node and its books are those of the other end-to-end tests, of which these need a part.
#[allow(dead_code)]
#[path = "../pool/books.rs"]
mod books;
#[allow(dead_code)]
#[path = "../pool/site.rs"]
mod site;
#[allow(dead_code)]
#[path = "../pool/tally.rs"]
mod tally;
