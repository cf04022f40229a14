//! One stage of the demo: a progress bar on a terminal, a line without one.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// A stage that is under way.
pub(crate) struct Stage {
    what: &'static str,
    bar: ProgressBar,
    begun: Instant,
}

impl Stage {
    /// Begins a stage of `steps` steps.
    pub(crate) fn begin(what: &'static str, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64).with_message(what);
        let style = ProgressStyle::with_template("{spinner} [{bar:24}] {msg} {pos}/{len}").expect("a valid template");
        bar.set_style(style.progress_chars("=> "));
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        Self { what, bar, begun: Instant::now() }
    }

    /// Shows how many steps are done.
    pub(crate) fn set(&self, steps: usize) {
        self.bar.set_position(steps as u64);
    }

    /// Ends the stage and says how long it took.
    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
        println!("[{}] {} ({:.1} s)", "=".repeat(24), self.what, self.begun.elapsed().as_secs_f64());
    }
}
