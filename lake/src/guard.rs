//! Keeps panics of the Parquet decoder from becoming ours.
//!
//! The decoder trusts page contents: a flipped bit in a data file can make it panic (seen: slice bounds in
//! definition levels, dictionary keys). For us that is a damaged file, to be named like any other, and nothing that
//! the default hook should print.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder. A panic becomes the text of an error; the decoder must not be used afterwards.
pub fn guarded<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                previous(panic);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    QUIET.set(outer);
    result.map_err(|_| "its pages cannot be decoded".to_string())
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_panic_becomes_an_error_and_later_calls_work() {
        assert_eq!(guarded(|| 1), Ok(1));
        assert!(guarded(|| [1, 2][std::hint::black_box(2)]).is_err());
        assert_eq!(guarded(|| 2), Ok(2));
    }
}
